"""Other spellings of numbers, units, ages and months: read to the value, told, or asked about."""

import pytest

from medcodi.data.dates import date_form
from medcodi.sources.finding import Country
from medcodi.sources.kinds import infer
from medcodi.sources.numbers import is_unit, read_numbers, same_unit
from medcodi.sources.respelled import respelled

WIDE = {code: chr(code + 0xFEE0) for code in range(0x21, 0x7F)}  # to full-width characters


def test_full_width_cells_are_numbers_and_dates():
    found = infer([f"{n + 0.25}".translate(WIDE) for n in range(30)], "crp")
    assert found.kind == "continuous"
    assert found.details["map"]["2.25".translate(WIDE)] == "2.25"
    assert f"{'0.25'.translate(WIDE)!r} is 0.25, and 29 more" in found.changed
    days = infer([f"2021-03-{n % 28 + 1:02d}".translate(WIDE) for n in range(60)], "seen")
    assert days.kind == "datetime" and days.details["origin"] == "2021-03-01"
    words = ["A".translate(WIDE), "B".translate(WIDE)]
    assert infer(words * 9, "ward").details["categories"] == words  # no numbers


@pytest.mark.parametrize(
    ("texts", "plain"),
    [
        (["3.5-", "1.0", "2"], {"3.5-": "-3.5"}),
        (["1,2 x 10^3", "4 × 10⁵"], {"1,2 x 10^3": "1,2e3", "4 × 10⁵": "4e5"}),
        (["2·10^-3", "0.5"], {"2·10^-3": "2e-3"}),
        (["2x10^3", "7x10^3"], {}),  # a unit of the whole column
        (["3-", "5-"], {}),
        (["a", "b"], {}),
    ],
)
def test_what_a_spelling_stands_for(texts, plain):
    assert respelled(texts) == plain


def test_powers_of_ten_that_differ_are_numbers():
    found = infer([f"{n / 10 + 1:.1f}x10^{3 + n % 2}" for n in range(40)], "load")
    assert found.kind == "integer" and found.details["map"]["1.1x10^4"] == "1.1e4"


@pytest.mark.parametrize(
    "unit",
    [
        "x 10^9/L",
        "×10⁹/l",
        "10*3/uL",
        "x 10E9/L",
        "yo",
        "y/o",
        "years old",
        "/nl",
        "m²",
        "mg/dl",
        "G/L",
    ],
)
def test_units_as_laboratories_write_them(unit):
    assert is_unit(unit)
    (reading,) = read_numbers({f"{n} {unit}": 1 for n in range(150, 170)}).readings
    assert reading.suffix.strip() == unit and min(reading.numbers.values()) == 150


def test_spellings_of_one_unit_are_one_and_others_are_asked_about():
    assert same_unit("yrs") == same_unit("y/o") == same_unit("Years old") == same_unit("Jahre")
    assert same_unit("ug/ml") == same_unit("µg/mL") and same_unit("mg/DL") == same_unit("mg/dl")
    assert same_unit("G/L") != same_unit("g/L")
    found = infer([f"{30 + n} y" if n % 3 else f"{30 + n} yo" for n in range(40)], "age")
    assert found.kind == "integer" and found.details["map"]["30 yo"] == "30 y"
    assert any("'30 yo' is '30 y'" in line for line in found.changed)
    for other in ("months", "mo", "wk"):
        mixed = infer([f"{n} y" if n % 3 else f"{n} {other}" for n in range(40)], "age")
        assert f'suffix: " {other}"' in mixed.ambiguous


@pytest.mark.parametrize(
    ("code", "others", "asked"),
    [
        ("-1", range(20, 80), True),  # nearer than the others are apart, but alone below zero
        ("999", range(20, 80), True),
        ("9", [0, 1, 2, 3], True),
        ("-9", [1.5, 2.5, 3.5, 4.5], True),
        ("-1", [0, 1], False),  # uncertain, no, yes
        ("-1", range(-8, 9), False),
        ("99", range(20, 130), False),
    ],
)
def test_numbers_that_may_stand_for_no_value(code, others, asked):
    found = infer([code] * 3 + [str(n) for n in others] * 3, "score")
    assert (f'missing: ["{code}"]' in found.ambiguous) is asked


def test_points_before_three_digits_need_a_witness():
    texts = [f"{4 + n / 25:.3f}" for n in range(40)]
    asked = infer(texts, "cells").ambiguous
    assert '`cells: {decimal: "."}` or `cells: {decimal: ",", thousands: "."}`' in asked
    assert infer(texts, "cells", country=Country(point=True)).ambiguous == ""


def test_ages_as_dicom_writes_them_are_no_names_of_rows():
    for unit in ("Y", "YM"):
        found = infer([f"{n:03d}{unit[n % len(unit)]}" for n in range(1, 60)], "age")
        assert found.kind == "text" and 'suffix: "Y"' in found.ambiguous


def test_identifiers_that_a_spreadsheet_has_cut_are_refused():
    found = infer([f"{1 + n / 100:.2f}E+11" for n in range(40)], "patient_id")
    assert found.kind == "identifier" and "has cut off" in found.ambiguous
    assert infer([str(n) for n in range(20, 60)], "age").kind == "integer"  # no name of a row


def test_most_are_dates():
    found = infer(["0000-00-00"] * 9 + [f"2021-05-{n % 28 + 1:02d}" for n in range(60)], "seen")
    assert 'missing: ["0000-00-00"]' in found.ambiguous
    weeks = infer([f"2021-W{n % 9 + 10}" for n in range(60)], "week")
    assert weeks.kind == "categorical"  # a week is no day


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("de: %d. %B %Y", ["3. März 2020", "14. Dezember 1999", "1. Mai 2021"]),
        ("de2: %d-%b-%Y", ["03-Mrz-2020", "14-Dez-1999", "01-Mai-2021"]),
        ("fr: %d %B %Y", ["3 février 2020", "14 août 1999", "1 mai 2021"]),
        ("fr: %d %b %Y", ["3 févr. 2020", "14 sept. 1999", "1 mai 2021"]),
        ("es: %d %b %Y", ["3 ene 2020", "14 ago 1999", "1 abr 2021"]),
        ("de: %d. %B %Y %H:%M", ["13. März 2020 17:05", "14. Juni 1999 23:59"]),
    ],
)
def test_months_of_other_languages_come_back_as_they_are_written(form, texts):
    found = infer(texts * 9, "seen")
    assert found.kind == "datetime" and found.details["date_format"] == form
    shape, padded = date_form(form), found.details.get("padded", True)
    assert [shape.write(shape.read(text), padded) for text in texts] == texts


def test_a_language_that_is_not_known():
    with pytest.raises(ValueError, match="the language is one of en, de"):
        date_form("xx: %d %B %Y")
