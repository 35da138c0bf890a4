"""Fidelity by finding: each finding beside its floor and beside images without it."""

import math

import pytest

from medcodi.evaluation.table import choose_tables
from medcodi.evaluation.tables.by_finding import KERNEL, FidelityByFinding
from tests.evaluation.parts import context_of


def test_each_finding_has_three_rows_of_one_size(tiny_run, tmp_path):
    context = context_of(tiny_run, tmp_path, tables={"T2b": {"least": 2}})
    result = FidelityByFinding().run(context)
    assert len(result.rows) % 3 == 0
    labels = dict(
        zip(
            context.labels.own.names,
            context.labels.own.of(context.studies.held_out(["T", "F"])).T,
            strict=True,
        )
    )
    for ours, floor, without in zip(*(result.rows[i::3] for i in range(3)), strict=True):
        assert [row.kind for row in (ours, floor, without)] == ["ours", "floor", "baseline"]
        assert ours.cells["finding"] == floor.cells["finding"] == without.cells["finding"]
        assert math.isfinite(ours.value(KERNEL))
        if ours.system == "T>F":
            assert ours.n == labels[ours.cells["finding"]].sum()
            assert floor.n <= ours.n


def test_findings_that_are_too_rare_are_told(tiny_run, tmp_path):
    context = context_of(tiny_run, tmp_path, tables={"T2b": {"least": 1000}})
    with pytest.raises(ValueError, match="no finding has enough"):
        FidelityByFinding().run(context)


def test_it_is_a_table_of_the_suite():
    assert list(choose_tables(["t2b"])) == ["T2b"]
