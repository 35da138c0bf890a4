"""Routes at several numbers of steps: the same seeds, differences to the reference."""

import pytest

from medcodi.evaluation.steps import KERNEL, losses, markdown, step_rows
from tests.evaluation.parts import context_of


@pytest.fixture(scope="module")
def context(tiny_run, tmp_path_factory):
    return context_of(tiny_run, tmp_path_factory.mktemp("steps"))


@pytest.fixture(scope="module")
def rows(context):
    return step_rows(context, ["T>F", "F>T"], [1], 2)


def test_the_reference_differs_from_itself_by_nothing(rows):
    assert {(row["route"], row["steps"]) for row in rows} == {
        (route, steps) for route in ("T>F", "F>T") for steps in (1, 2)
    }
    for row in rows:
        if row["metric"] == KERNEL:
            assert row["route"] == "T>F" and row["interval"][0] <= row["interval"][1]
        elif row["steps"] == 2:
            assert row["difference"]["value"] in (0, pytest.approx(float("nan"), nan_ok=True))


def test_differences_are_those_of_the_values(rows):
    values = {(row["route"], row["metric"], row["steps"]): row["value"] for row in rows}
    name = "mean AUC of the four findings"
    (few,) = (r for r in rows if (r["metric"], r["steps"]) == (name, 1))
    expected = values["T>F", name, 1] - values["T>F", name, 2]
    assert few["difference"]["value"] == pytest.approx(expected, nan_ok=True)


def test_another_solver_samples_otherwise_and_leaves_the_pipeline(context, rows):
    before = dict(context.generations.pipeline.schedulers)
    other = step_rows(context, ["T>F"], [2], 2, "dpm++")
    assert context.generations.pipeline.schedulers == before
    distance = {r["steps"]: r["value"] for r in rows if r["metric"] == KERNEL}
    assert [r["value"] for r in other if r["metric"] == KERNEL] != [distance[2]]


def test_what_is_worse_is_named_and_bold():
    row = {"route": "T>F", "metric": "AUC", "n": 9, "value": 0.5}
    few = row | {"steps": 5, "difference": {"value": -0.2, "interval": [-0.3, -0.1]}}
    many = row | {"steps": 50, "difference": {"value": 0.0, "interval": [0.0, 0.0]}}
    assert losses([few, many]) == {5: ["T>F, AUC"], 50: []}
    assert "**-0.200 [-0.300, -0.100]**" in markdown([few, many])


def test_what_is_no_route_is_refused(context):
    with pytest.raises(ValueError, match="a route reads as"):
        step_rows(context, ["F>F"])
