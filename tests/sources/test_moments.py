"""Columns of dates: one form, or those that they may have."""

import pytest

from medcodi.sources.moments import is_padded, may_be_serials, read_moments, spelled


@pytest.mark.parametrize(
    ("texts", "forms"),
    [
        (["03/04/2020", "05/06/2020"], ("%m/%d/%Y", "%d/%m/%Y")),
        (["03-04-2020", "05-06-2020"], ("%d-%m-%Y", "%m-%d-%Y")),
        (["03/04/2020 2:30 PM"] * 2, ("%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p")),
        (["03/25/2020", "01/02/2020"], ("%m/%d/%Y",)),
        (["25/03/2020", "01/02/2020"], ("%d/%m/%Y",)),
        (["3.4.2020", "12.12.2020"], ("%d.%m.%Y",)),
        (["2020-03-01", "2020-03-05"], ("%Y-%m-%d",)),
        (["20200301", "20210101"], ("%Y%m%d",)),
        (["4 Mar 2020", "14 May 2020"], ("%d %b %Y",)),
        (["04MAR2020", "14MAY2020"], ("%d%b%Y",)),
        (["2020-03-01T10:30:00Z"] * 2, ("%Y-%m-%dT%H:%M:%SZ",)),
        (["2020-03-01T10:30:00+01:00", "2020-07-02T10:30:00+02:00"], ("",)),
        (["2020-03-01", "2020-03-01 10:30"], ("",)),
        (["10:30", "23:59"], ("%H:%M",)),
        (["2020-03", "2021-04"], ("%Y-%m",)),
        (["1er janvier 2024", "22 mars 2024"], ("fr: %o %B %Y",)),
        (["2 janvier 2024", "22 mars 2024"], ("fr: %d %B %Y",)),
        (["January 1st, 2024", "March 22nd, 2024"], ("%B %o, %Y",)),
        (["1º de maio de 2024", "2 de junho de 2024"], ("pt: %o de %B de %Y",)),
        (["Mon, 01 Jan 2024", "Tue, 02 Jan 2024"], ("%a, %d %b %Y",)),
        (["14:30 CET", "8:05 CET"], ("%H:%M CET",)),
        (["03/24/2024 2:26 PM EST", "03/01/2024 1:00 AM EST"], ("%m/%d/%Y %I:%M %p EST",)),
        (["14h30", "8h05"], ("%Hh%M",)),
        (["36:15", "8:05"], ("[h]:mm", "[m]:ss")),
        (["36:15:00", "8:05:10"], ("[h]:mm:ss",)),
        (["24:00", *(f"{n}:05" for n in range(24))], ("%H:%M",)),
        (["1.5", "2.5"], ()),
        (["18-59", "60-90"], ()),
        (["120/80", "130/85"], ()),
        (["a", "b"], ()),
    ],
)
def test_forms(texts, forms):
    assert read_moments(dict.fromkeys(texts, 1)).forms == forms


@pytest.mark.parametrize(
    "texts",
    [
        ["13/04/2020", "04/13/2020"],
        ["2020-03-01", "2020-03-02", "43910"],
        ["2020-03-01", "01.03.2020"],
    ],
)
def test_several_forms_in_one_column(texts):
    found = read_moments(dict.fromkeys(texts, 1))
    assert not found.forms and "dates are written in several forms" in found.mixed


def test_a_rare_long_time_may_be_a_slip():
    counts = {f"{hour}:{minute:02d}": 1 for hour in range(24) for minute in range(60)} | {
        "36:15": 1
    }
    assert read_moments(counts).forms == ("[h]:mm", "[m]:ss", "%H:%M")
    told = [spelled(form, "36:15") for form in ("[h]:mm", "[m]:ss", "%H:%M")]
    assert told == ["36 h 15 min", "36 min 15 s", "nothing"]


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["14:30 CET", "14:30 CEST", "8:05 CEST"], "several zones (CEST, CET)"),
        (["2024-03-01 10:30", "2024-03-02 10:30 EST"], "several zones (EST, none)"),
    ],
)
def test_times_of_several_zones(texts, told):
    found = read_moments(dict.fromkeys(texts, 1))
    assert not found.forms and told in found.mixed


def test_serial_days_and_zeros():
    assert may_be_serials("AdmissionDate", ["43910", "43911.5"])
    assert not may_be_serials("birth_weight", ["43910"]) and not may_be_serials("date", ["7"])
    assert is_padded("%m/%d/%Y", ["03/04/2020"]) and not is_padded("%m/%d/%Y", ["3/4/2020"])
