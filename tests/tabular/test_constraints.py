"""Constraints: what breaks them, and what a repair changes."""

import numpy as np
import pandas as pd
import pytest

from medcodi.tabular.constraints import build_constraints

FRAME = pd.DataFrame(
    {
        "a": [1.0, 5.0, np.nan, 2.0],
        "b": [2.0, 3.0, 1.0, 2.0],
        "t": [3.0, 8.0, 1.0, 5.0],
        "s": ["x", "y", "x", None],
    }
)
CASES = [
    ({"less_equal": ["a", "b"]}, [False, True, False, False]),
    ({"positive": ["a"]}, [False] * 4),
    ({"sum": {"total": "t", "parts": ["a", "b"]}}, [False, False, False, True]),
    ({"only_if": {"column": "a", "when": {"s": ["x"]}}}, [False, True, False, True]),
    ({"unique": ["b"]}, [False, False, False, True]),
    ({"combinations": ["s", "b"]}, [False] * 4),
]


@pytest.mark.parametrize(("entry", "broken"), CASES)
def test_broken_rows_and_their_repair(entry, broken):
    (constraint,) = build_constraints([entry], FRAME, {"a", "b", "t"})
    assert constraint.broken(FRAME).tolist() == broken
    if constraint.kind == "unique":
        return  # rows are drawn anew
    frame = FRAME.copy()
    nothing = pd.DataFrame(False, index=frame.index, columns=frame.columns)
    constraint.repair(frame, nothing, np.random.default_rng(0))
    assert not constraint.broken(frame).any()
    kept = ~np.array(broken)
    pd.testing.assert_frame_equal(frame[kept], FRAME[kept])


def test_what_is_given_is_not_repaired():
    (constraint,) = build_constraints([CASES[2][0]], FRAME, {"a", "b", "t"})
    frame, given = FRAME.copy(), pd.DataFrame(False, index=FRAME.index, columns=FRAME.columns)
    given[["t", "a"]] = True
    constraint.repair(frame, given, np.random.default_rng(0))
    assert frame.loc[3].tolist()[:3] == [2.0, 3.0, 5.0]


def test_unseen_combinations_become_observed_ones():
    (constraint,) = build_constraints([{"combinations": ["s", "b"]}], FRAME, set())
    frame = FRAME.assign(b=[3.0, 2.0, 2.0, 3.0])
    given = pd.DataFrame(False, index=frame.index, columns=frame.columns).assign(s=True)
    constraint.repair(frame, given, np.random.default_rng(0))
    assert not constraint.broken(frame).any() and frame["s"].tolist()[:3] == ["x", "y", "x"]


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ({"less_than": ["a", "b"]}, "did you mean 'less_equal'"),
        ({"less_equal": ["a", "c"]}, "'c' in the columns of the constraint less_equal"),
        ({"positive": ["s"]}, "column 's' holds no numbers"),
        ({"sum": ["t", "a"]}, r"sum needs the keys \['parts', 'total'\]"),
        ("a <= b", "a constraint is one of"),
    ],
)
def test_wrong_constraints(entry, match):
    with pytest.raises(ValueError, match=match):
        build_constraints([entry], FRAME, {"a", "b", "t"})
