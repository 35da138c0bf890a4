"""Columns of numbers: one notation, or the two that they may be in."""

from collections import Counter

import pytest

from medcodi.sources.numbers import collisions, is_unit, read_numbers, take_apart


def readings(*texts, **options):
    found = read_numbers(Counter(texts), **options)
    return [{t: float(n) for t, n in reading.numbers.items()} for reading in found.readings]


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1.741", "42,6"], [1741, 42.6]),
        (["1,5", "2"], [1.5, 2]),
        (["1,310,500", "2,000"], [1310500, 2000]),
        (["0,500", "1,200"], [0.5, 1.2]),
        (["310.5", "1,200"], [310.5, 1200]),
        (["1 741", "999"], [1741, 999]),
        (["1\u00a0741", "999"], [1741, 999]),
        (["1\u202f741", "1\u202f741,5"], [1741, 1741.5]),
        (["2\u2009310", "12\u2009345"], [2310, 12345]),
        (["12\u00a0mg/L", "13\u00a0mg/L"], [12, 13]),
        (["12 mg/L", "13 mg/l"], [12, 13]),
        (["$12.50", "$3"], [12.5, 3]),
        (["45%", "7%"], [45, 7]),
        (["38.2 °C", "37.1 °C"], [38.2, 37.1]),
        (["5 10E9/L", "12 10E9/L"], [5, 12]),
        (["5.1 10⁹/L", "12 x10(9)/L"], [5.1, 12]),
        (["9.1 1000/uL", "11,000 1000/uL"], [9.1, 11000]),
        (["7.3 thou/mm3", "11.1 thou/mm3"], [7.3, 11.1]),
        (["534 mg/24h", "1229 mg/24 h"], [534, 1229]),
        (["94 mL/min/1.73 m²", "23 mL/min/1.73 m²"], [94, 23]),
    ],
)
def test_one_reading(texts, numbers):
    (found,) = readings(*texts)
    assert list(found.values()) == numbers


@pytest.mark.parametrize(
    ("texts", "both"),
    [(["310,500", "250,000"], {310.5, 310500}), (["1.741", "2.305"], {1.741, 1741})],
)
def test_two_readings(texts, both):
    assert {found[texts[0]] for found in readings(*texts)} == both


def test_a_known_notation_settles_them():
    assert readings("310,500", "250,000", style=(".", ",")) == [
        {"310,500": 310500, "250,000": 250000}
    ]
    assert readings("1,5", "2.5", style=(".,", "")) == [{"1,5": 1.5, "2.5": 2.5}]
    assert readings("12", "13 mg", unit="mg") == [{"12": 12, "13 mg": 13}]


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["12 mg/L", "13 g/L"], "the unit changes"),
        (["12 mg/L", "13"], "none, 'mg/L'"),
        (["45%", "0.45"], "none, '%'"),
        (["€5", "$5"], "the currency changes"),
        (["0.2", "0,5"], "the decimal mark changes"),
    ],
)
def test_cells_that_do_not_go_together(texts, match):
    assert match in read_numbers(Counter(texts)).mixed


@pytest.mark.parametrize(
    "text", ["2A", "3C", "120/80", "10:30", "2020-01-02", "007", "1_000", "5-10", "3rd", "5 (high)"]
)
def test_codes_are_no_numbers(text):
    assert (
        not readings(text, text.replace(text[0], "4", 1))
        if text == "007"
        else take_apart(text) is None
    )


def test_bounds():
    found = read_numbers(
        Counter(["12", "14", ">89", "> 89", "90+", "<= 5", "less than 5"])
    ).readings[0]
    assert found.censored[">89"] == found.censored["> 89"] > 89
    assert (
        found.censored["90+"] > 90 and found.censored["<= 5"] < 5 != found.censored["less than 5"]
    )
    assert len(set(found.censored.values())) == 4 and set(found.numbers) == {"12", "14"}


def test_units():
    assert all(map(is_unit, ["mg/dL", "x10^9/L", "mL/min/1.73m2", "µmol/l", "kg/m^2", "/min", "%"]))
    assert not any(map(is_unit, ["", "high", "Station 3"]))


def test_numbers_that_64_bits_cannot_tell_apart():
    (reading,) = read_numbers(Counter(["12345678901234567", "12345678901234568"])).readings
    assert set(collisions(reading)) == {"12345678901234567", "12345678901234568"}
    assert collisions(read_numbers(Counter(["1234567", "1234568", "1.0", "1"])).readings[0]) is None
