"""A column as states: what goes in comes out, missing stays missing."""

import numpy as np
import pytest

from medcodi.data.column import Column
from medcodi.data.notation import Notation
from medcodi.tabular.states import MISSING, ColumnStates

RNG = np.random.default_rng(0)
SKEWED = np.where(RNG.random(2000) < 0.4, 0.0, RNG.lognormal(3, 1.5, 2000)).round(2)


def states_of(values, kind="continuous", **arguments):
    column = Column("x", kind, **arguments)
    if not column.is_discrete:
        column.fit(values[~np.isnan(values)])
    return ColumnStates.fit(column, values)


def drawn(states, values, seed=1):
    uniform = np.random.default_rng(seed).random(len(values))
    return states.decode(states.encode(values), uniform)


def test_frequent_numbers_have_a_state_of_their_own():
    states = states_of(SKEWED)
    assert 0.0 in states.points and len(states.knots) == 50
    back = drawn(states, SKEWED)
    assert np.array_equal(back == 0, SKEWED == 0) and back.max() <= SKEWED.max()
    assert abs(np.median(back[back > 0]) / np.median(SKEWED[SKEWED > 0]) - 1) < 0.02
    assert np.array_equal(back, back.round(2))


def test_few_numbers_come_back_as_they_are():
    values = RNG.integers(0, 30, 900) * 5.0
    assert np.array_equal(drawn(states_of(values, "integer"), values), values)


def test_bounds_stay_bounds():
    bound = float(np.nextafter(89.0, 100))
    values = np.where(RNG.random(2000) < 0.01, bound, RNG.normal(60, 9, 2000).clip(18, 89))
    states = states_of(values, notation=Notation(censored={">89": bound}))
    back = drawn(states, values)
    assert np.array_equal(back == bound, values == bound)


@pytest.mark.parametrize("kind", ["continuous", "categorical"])
def test_missing_is_a_state(kind):
    values = np.array([np.nan, 0.0, 1.0] * 20)
    states = states_of(values, kind, categories=["a", "b"] if kind == "categorical" else [])
    assert (states.encode(values) == MISSING).sum() == 20
    np.testing.assert_array_equal(drawn(states, values), values)


def test_a_number_outside_is_in_the_nearest_state():
    states = states_of(SKEWED)
    assert states.encode(np.array([1e9]))[0] == states.size - 1
    assert (
        ColumnStates.from_dict(states.to_dict()).encode(SKEWED).tolist()
        == states.encode(SKEWED).tolist()
    )
