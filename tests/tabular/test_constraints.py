"""Constraints: what breaks them, and what a repair changes."""

import numpy as np
import pandas as pd
import pytest

from medcodi.data.column import Column
from medcodi.tabular.constraints import build_constraints

FRAME = pd.DataFrame(
    {
        "a": [1.0, 5.0, np.nan, 2.0],
        "b": [2.0, 3.0, 1.0, 2.0],
        "t": [3.0, 8.0, 1.0, 5.0],
        "s": ["x", "y", "x", None],
    }
)
COLUMNS = {name: Column(name, "continuous") for name in "abt"}
COLUMNS["s"] = Column("s", "categorical", ["x", "y"])
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
    (constraint,) = build_constraints([entry], FRAME, COLUMNS)
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
    (constraint,) = build_constraints([CASES[2][0]], FRAME, COLUMNS)
    frame, given = FRAME.copy(), pd.DataFrame(False, index=FRAME.index, columns=FRAME.columns)
    given[["t", "a"]] = True
    constraint.repair(frame, given, np.random.default_rng(0))
    assert frame.loc[3].tolist()[:3] == [2.0, 3.0, 5.0]


def test_unseen_combinations_become_observed_ones():
    (constraint,) = build_constraints([{"combinations": ["s", "b"]}], FRAME, COLUMNS)
    frame = FRAME.assign(b=[3.0, 2.0, 2.0, 3.0])
    given = pd.DataFrame(False, index=frame.index, columns=frame.columns).assign(s=True)
    constraint.repair(frame, given, np.random.default_rng(0))
    assert not constraint.broken(frame).any() and frame["s"].tolist()[:3] == ["x", "y", "x"]


def test_a_chain_is_repaired_down_to_what_is_given():
    (constraint,) = build_constraints([{"less_equal": ["a", "b", "t"]}], FRAME, COLUMNS)
    frame = FRAME.assign(a=5.0, b=6.0, t=4.0)
    given = pd.DataFrame(False, index=frame.index, columns=frame.columns).assign(t=True)
    constraint.repair(frame, given, np.random.default_rng(0))
    assert not constraint.broken(frame).any() and (frame["t"] == 4).all()


def test_conditions_are_read_as_cells_are():
    """YAML says True for yes."""
    frame = pd.DataFrame({"smoker": ["yes", "no", "yes"], "packs": [1.0, 2.0, np.nan]})
    columns = {"smoker": Column("smoker", "categorical", ["no", "yes"])}
    columns["packs"] = Column("packs", "continuous")
    entry = {"only_if": {"column": "packs", "when": {"smoker": [True]}}}
    (constraint,) = build_constraints([entry], frame, columns)
    assert constraint.broken(frame).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ({"less_than": ["a", "b"]}, "did you mean 'less_equal'"),
        ({"less_equal": ["a", "c"]}, "'c' in the columns of the constraint less_equal"),
        ({"positive": ["s"]}, "column 's' holds no numbers"),
        ({"sum": ["t", "a"]}, r"sum needs the keys \['parts', 'total'\]"),
        ("a <= b", "a constraint is one of"),
        ({"less_equal": ["a"]}, "needs two columns or more"),
        ({"unique": []}, "needs names of columns"),
        ({"only_if": {"column": "a", "when": {"s": ["z"]}}}, "when 's': 'z' is not one of"),
        ({"only_if": {"column": "a", "when": "s"}}, "columns with their values as `when`"),
    ],
)
def test_wrong_constraints(entry, match):
    with pytest.raises(ValueError, match=match):
        build_constraints([entry], FRAME, COLUMNS)
