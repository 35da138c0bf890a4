"""Levels: spellings of one thing are one, nothing else is merged, and what was merged is told."""

from collections import Counter
from decimal import Decimal

import pytest

from medcodi.sources.levels import is_interval, number_levels, read_levels


@pytest.mark.parametrize(
    ("texts", "categories"),
    [
        (["M", "M", "m", "F", "F", "f"], ["F", "M"]),
        (["M", "M", "male", "female"], ["M", "female"]),
        (
            ["Yes", "Yes", "yes", "Y", "TRUE", "1", "No", "No", "no", "N", "0", "false"],
            ["No", "Yes"],
        ),
        (["yes", "Y", "no", "unknown"], ["no", "unknown", "yes"]),
        (["pos", "pos", "positive", "neg"], ["neg", "pos"]),
        (["N", "S", "E", "W"], ["E", "N", "S", "W"]),
        (["T", "F", "M"], ["F", "M", "T"]),
        (["left  lung", "left lung", "left lung", "right"], ["left lung", "right"]),
        (["+", "-"], ["+", "-"]),
        (["18-59", ">90", "60-90", "<18"], ["<18", "18-59", "60-90", ">90"]),
    ],
)
def test_categories(texts, categories):
    found = read_levels(Counter(texts))
    assert found.categories == categories and not found.clash
    assert set(found.map) == set(texts) - set(categories) and len(found.changed) == len(found.map)


def test_case_alone_is_not_merged_to_a_constant():
    assert read_levels(Counter(["A", "a"])).clash == "'A' and 'a'"


def test_numbers_keep_their_most_frequent_spelling():
    numbers = {text: Decimal(text) for text in ("1234567", "1234568", "1234568.0")}
    found = number_levels(numbers, Counter(numbers), {})
    assert found.categories == ["1234567", "1234568"] and found.map == {"1234568.0": "1234568"}
    assert number_levels(
        {"0.2": Decimal("0.2")}, Counter(["0.2"]), {"<0.1": 0.0999}
    ).categories == ["<0.1", "0.2"]


def test_intervals():
    assert all(map(is_interval, ["18-59", "[18,59]", "(59,74]", ">90", "90+", "0 to 5"]))
    assert not any(map(is_interval, ["1,5", "a", "18/59"]))
