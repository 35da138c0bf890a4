"""How numbers are written: reading and writing are inverse."""

import pytest

from medcodi.data.notation import Notation, beyond, parse_number


@pytest.mark.parametrize(
    ("text", "decimal", "thousands", "number"),
    [
        ("1.741", ".", "", 1.741),
        ("1.741", ",", ".", 1741),
        ("1.234.567,89", ",", ".", 1234567.89),
        ("310,500", ".", ",", 310500),
        ("310,500", ",", "", 310.5),
        ("1 741", ".", " ", 1741),
        ("1\u00a0741,5", ",", " ", 1741.5),
        ("1'234.5", ".", "'", 1234.5),
        ("1,00,000", ".", ",", 100000),
        ("\u22123.5", ".", "", -3.5),
        (".5", ".", "", 0.5),
        ("1e-3", ".", "", 0.001),
        ("1.741", ".", ",", 1.741),
    ],
)
def test_numbers(text, decimal, thousands, number):
    assert float(parse_number(text, decimal, thousands)) == number


@pytest.mark.parametrize(
    ("text", "decimal", "thousands"),
    [
        ("1_0", ".", ""),
        ("1,5", ".", ","),
        ("0,500", ".", ","),
        ("1e999", ".", ""),
        ("nan", ".", ""),
        ("", ".", ""),
    ],
)
def test_no_numbers(text, decimal, thousands):
    assert parse_number(text, decimal, thousands) is None


@pytest.mark.parametrize(
    ("notation", "text", "number"),
    [
        (Notation(), "12.5", 12.5),
        (Notation(places=2), "12.50", 12.5),
        (Notation(decimal=",", thousands="."), "1.234,5", 1234.5),
        (Notation(suffix=" mg/L"), "12 mg/L", 12),
        (Notation(suffix="%"), "45%", 45),
        (Notation(prefix="$", places=2), "$3.50", 3.5),
        (Notation(censored={">89": 89.00000000000001}), ">89", 89.00000000000001),
        (Notation(origin="2020-03-01", date_format="%m/%d/%Y"), "03/05/2020", 4),
        (Notation(origin="2020-03-01", date_format="%Y-%m-%d %H:%M"), "2020-03-01 18:00", 0.75),
    ],
)
def test_a_number_comes_back_as_it_is_written(notation, text, number):
    assert notation.read(text) == number and notation.write(number) == text


def test_a_day_is_written_without_its_fraction():
    assert Notation(origin="2020-03-01", date_format="%d.%m.%Y").write(2.4) == "03.03.2020"


def test_bounds_have_floats_of_their_own():
    first = beyond(0.1, False, set())
    assert first < 0.1 and beyond(0.1, False, {first}) < first and beyond(89.0, True, set()) > 89


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"decimal": "x"}, "decimal must be one of"),
        ({"decimal": ",", "thousands": ","}, "must differ"),
        ({"origin": "yesterday"}, "origin must be a date"),
    ],
)
def test_wrong_notations(arguments, match):
    with pytest.raises(ValueError, match=match):
        Notation(**arguments)


def test_errors_name_the_notation():
    with pytest.raises(ValueError, match=r"expected a number \(decimal ',', unit 'mg'\), got 'x'"):
        Notation(decimal=",", suffix=" mg").read("x")
    with pytest.raises(ValueError, match="expected a finite number, got 'inf'"):
        Notation().read("inf")
    with pytest.raises(ValueError, match=r"expected a date as %d\.%m\.%Y, got '5'"):
        Notation(origin="2020-01-01", date_format="%d.%m.%Y").read("5")
