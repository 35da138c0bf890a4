"""Forms of dates: what they read is what they write."""

import pytest

from medcodi.data.dates import EXCEL, date_form


@pytest.mark.parametrize(
    ("form", "text", "iso"),
    [
        ("%m/%d/%Y", "03/25/2020", "2020-03-25T00:00:00"),
        ("%d.%m.%Y %H:%M", "25.03.2020 07:05", "2020-03-25T07:05:00"),
        ("%d-%b-%Y", "04-Mar-2020", "2020-03-04T00:00:00"),
        ("%B %d, %Y", "March 04, 2020", "2020-03-04T00:00:00"),
        ("%Y%m%d", "20200304", "2020-03-04T00:00:00"),
        ("%Y-%m-%dT%H:%M:%SZ", "2020-03-04T10:30:15Z", "2020-03-04T10:30:15"),
        ("%m/%d/%Y %I:%M %p", "03/04/2020 12:30 AM", "2020-03-04T00:30:00"),
        ("%m/%d/%Y %I:%M %p", "03/04/2020 12:30 PM", "2020-03-04T12:30:00"),
        ("", "2020-03-04 10:30:00", "2020-03-04T10:30:00"),
        (EXCEL, "43894", "2020-03-04T00:00:00"),
        (EXCEL, "43894.4375", "2020-03-04T10:30:00"),
        ("fr: %o %B %Y", "1er mars 2024", "2024-03-01T00:00:00"),
        ("%B %o, %Y", "March 22nd, 2024", "2024-03-22T00:00:00"),
        ("%B %o, %Y", "March 11th, 2024", "2024-03-11T00:00:00"),
        ("pt: %o de %B de %Y", "1º de maio de 2024", "2024-05-01T00:00:00"),
        ("%A, %d %B %Y", "Monday, 01 January 2024", "2024-01-01T00:00:00"),
        ("%H:%M CET", "14:30 CET", "1900-01-01T14:30:00"),
        ("[h]:mm", "36:15", "1900-01-02T12:15:00"),
        ("[h]:mm:ss", "100:02:03", "1900-01-05T04:02:03"),
        ("[m]:ss", "36:15", "1900-01-01T00:36:15"),
    ],
)
def test_a_date_comes_back_as_it_is_written(form, text, iso):
    moment = date_form(form).read(text)
    assert moment.replace(tzinfo=None).isoformat() == iso and date_form(form).write(moment) == text


def test_a_day_of_the_week_that_is_another():
    assert date_form("%a, %d %b %Y").read("Tue, 01 Jan 2024") is None


def test_no_duration_is_below_zero():
    form = date_form("[h]:mm")
    assert form.write(date_form("").read("1899-12-31"), False) == "0:00"


def test_leading_zeros_are_an_option():
    form = date_form("%m/%d/%Y")
    assert form.write(form.read("3/4/2020"), padded=False) == "3/4/2020"


@pytest.mark.parametrize("text", ["13/13/2020", "02/30/2020", "3-4-2020", "", "x03/04/2020"])
def test_other_texts_are_no_dates(text):
    assert date_form("%m/%d/%Y").read(text) is None


def test_two_digit_years_lie_in_a_century_that_can_be_named():
    form = date_form("%d.%m.%y")
    assert [form.read("31.12.45", first).year for first in (1900, 1946, 2000)] == [1945, 2045, 2045]


def test_a_directive_that_is_not_known():
    with pytest.raises(ValueError, match="%Q is not known"):
        date_form("%Q")
