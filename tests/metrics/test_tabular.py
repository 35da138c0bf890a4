"""Independent marginals must fail what `shape` lets pass; known moments; a hand-made trend."""

import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("lightgbm", reason="the extra `eval` is not installed")

from medcodi.data.table import Column, TableSchema
from medcodi.evaluation.tables.tabular import Frames, compared
from medcodi.metrics import tabular
from medcodi.metrics.table_quality import sdmetrics_scores, shape_and_trend

SCHEMA = TableSchema(
    [
        Column("sick", "categorical", ["no", "yes"]),
        Column("icu", "categorical", ["no", "yes"]),
        Column("pulse", "continuous"),
        Column("days", "integer"),
    ]
)


def rows(n: int, seed: int) -> list[dict]:
    """`icu`, `pulse` and `days` follow `sick`; 5 % of the pulses are missing."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        sick = rng.random() < 0.4
        pulse = None if rng.random() < 0.05 else float(80 + 25 * sick + rng.normal(0, 8))
        made.append(
            {
                "sick": "yes" if sick else "no",
                "icu": "yes" if rng.random() < 0.05 + 0.7 * sick else "no",
                "pulse": pulse,
                "days": int(3 + 8 * sick + rng.poisson(2)),
            }
        )
    return made


def frames(n: int = 300):
    real, other = (tabular.table_frame(rows(n, seed), SCHEMA) for seed in (0, 1))
    return real, other, tabular.independent_marginals(other, seed=0)


def test_independent_marginals_pass_shape_and_fail_the_rest():
    real, other, independent = frames()
    by_real, by_marginals = (shape_and_trend(real, frame, SCHEMA) for frame in (other, independent))
    assert (
        by_marginals["shape"].value == pytest.approx(by_real["shape"].value)
        and by_marginals["shape"].value > 0.93
    )
    assert by_marginals["trend"].high < by_real["trend"].low
    told, fails = (
        tabular.two_sample(real, other, SCHEMA),
        tabular.two_sample(real, independent, SCHEMA),
    )
    assert told["auc"].low < 0.5 < told["auc"].high and fails["auc"].low > 0.75
    assert (
        fails["score"].high < 0.5 < told["score"].value and told["score"].low < told["score"].value
    )
    useful, useless = (
        tabular.efficacy(other, real, SCHEMA),
        tabular.efficacy(independent, real, SCHEMA),
    )
    assert useful.mean.low > 0.85 and useless.mean.value < 0.7
    assert set(useful.scores) == {"sick", "icu"}


def test_shape_falls_when_a_column_moves():
    real, other, _ = frames()
    shapes = [
        shape_and_trend(real, other.assign(pulse=other.pulse + shift), SCHEMA)["shape"].value
        for shift in (0, 10, 40)
    ]
    assert shapes[0] > shapes[1] > shapes[2]


def test_trend_of_a_hand_made_pair():
    schema = TableSchema(
        [Column("a", "categorical", ["x", "y"]), Column("b", "categorical", ["x", "y"])]
    )
    same = pd.DataFrame({"a": ["x", "y"] * 20, "b": ["x", "y"] * 20})
    swapped = pd.DataFrame({"a": ["x", "y"] * 20, "b": ["y", "x"] * 20})
    figures = shape_and_trend(same, swapped, schema)
    assert (
        figures["shape"].value == 1.0
        and figures["trend"].value == 0.0
        and figures["columns"]["a"].value == 1.0
    )
    assert shape_and_trend(same, same, schema)["trend"].value == 1.0


def test_moments():
    frame = tabular.table_frame(rows(200, 0), SCHEMA)
    figures = {f["column"]: f for f in tabular.moments(frame, SCHEMA)}
    pulse = frame.pulse.dropna()
    assert figures["pulse"]["mean"] == pytest.approx(pulse.mean()) and figures["pulse"][
        "sd"
    ] == pytest.approx(pulse.std())
    assert figures["pulse"]["n"] == len(pulse) and figures["pulse"]["missing"] == pytest.approx(
        1 - len(pulse) / 200
    )
    assert sum(figures["sick"]["shares"].values()) == pytest.approx(1)
    normal = tabular.table_frame(
        [{"pulse": float(v)} for v in np.random.default_rng(0).normal(size=4000)], SCHEMA
    )
    figures = {f["column"]: f for f in tabular.moments(normal, SCHEMA)}
    assert (
        abs(figures["pulse"]["kurtosis"]) < 0.3 and abs(figures["pulse"]["skewness"]) < 0.15
    )  # excess: 0, not 3
    assert figures["days"]["n"] == 0 and np.isnan(figures["days"]["mean"])


def test_a_constant_column_is_left_out_of_trend():
    real, other, _ = frames(60)
    assert np.isfinite(shape_and_trend(real, other.assign(days=4.0), SCHEMA)["trend"].value)
    constant = tabular.constant_rows(other)
    assert constant.drop_duplicates().shape == (1, 4) and set(constant.pulse) == {
        other.pulse.median()
    }
    assert shape_and_trend(real, constant, SCHEMA)["shape"].value < 0.7


def test_shape_and_trend_are_those_of_sdmetrics():
    pytest.importorskip(
        "sdmetrics", reason="the extra `sdmetrics` is not installed (its copulas is BUSL-1.1)"
    )
    real, other, independent = frames(120)
    schema = TableSchema([*SCHEMA.columns, Column("age", "continuous")])
    for frame in (
        other,
        independent.assign(sick=independent.sick.where(independent.index % 7 > 0)),
    ):
        pair = [
            f.assign(age=np.arange(120.0) * (1 + (f is real)) + f.days**2) for f in (real, frame)
        ]
        ours, theirs = shape_and_trend(*pair, schema), sdmetrics_scores(*pair, schema)
        assert {name: ours[name].value for name in theirs} == pytest.approx(theirs, abs=1e-9)


def test_without_sdmetrics_the_figures_are_there_and_the_table_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "sdmetrics.column_pairs", None)
    real, other, _ = frames(60)
    assert sdmetrics_scores(real, other, SCHEMA) is None
    made = Frames({"real": real, "generated": other}, {}, SCHEMA, [])
    figures = {
        name: estimate.value
        for name, estimate in shape_and_trend(real, other, SCHEMA).items()
        if name != "columns"
    }
    assert "`sdmetrics`, is not installed" in compared(made, figures)
    monkeypatch.undo()
    if sdmetrics_scores(real, other, SCHEMA):
        assert "gives the same" in compared(made, figures)
        with pytest.raises(ValueError, match="another version of SDMetrics"):
            compared(made, {name: value + 0.01 for name, value in figures.items()})


def test_intervals_of_shape_and_trend_have_the_width_of_other_samples():
    """The spread over samples of one population, against the interval that one of them states."""
    real = tabular.table_frame(rows(150, 0), SCHEMA)
    drawn = [
        shape_and_trend(real, tabular.table_frame(rows(150, seed), SCHEMA), SCHEMA)
        for seed in range(1, 13)
    ]
    for name in ("shape", "trend"):
        values = np.array([figures[name].value for figures in drawn])
        stated = np.mean([figures[name].high - figures[name].value for figures in drawn]) / 1.96
        assert 0.7 < stated / values.std(ddof=1) < 2.5, (
            name
        )  # it also counts the real side, which is one here
    patients = np.arange(150) // 50  # three patients say less than 150 rows
    wide = shape_and_trend(
        real, tabular.table_frame(rows(150, 1), SCHEMA), SCHEMA, (patients, patients)
    )
    assert (
        wide["trend"].low < drawn[0]["trend"].low and wide["trend"].value == drawn[0]["trend"].value
    )


def test_bad_input_says_what_is_wrong():
    real, other, _ = frames(40)
    with pytest.raises(ValueError, match="got none"):
        tabular.table_frame([], SCHEMA)
    with pytest.raises(ValueError, match="not one of"):
        tabular.table_frame([{"sick": "maybe"}], SCHEMA)
    with pytest.raises(ValueError, match="infinite"):
        tabular.table_frame([{"pulse": float("inf")}], SCHEMA)
    with pytest.raises(ValueError, match="20 rows or more"):
        tabular.two_sample(real, other[:5], SCHEMA)
    with pytest.raises(ValueError, match="without a value: \\['pulse'\\]"):
        shape_and_trend(real.assign(pulse=np.nan), other, SCHEMA)
    lost = shape_and_trend(real, other.assign(pulse=np.nan), SCHEMA)
    assert lost["columns"]["pulse"].value == 0 and 0 < lost["shape"].value < 1
    with pytest.raises(ValueError, match="two classes of 5 or more"):
        tabular.efficacy(real, other.assign(sick="no", icu="no"), SCHEMA)
    with pytest.raises(ValueError, match="must be discrete"):
        tabular.efficacy(real, other, SCHEMA, targets=["pulse"])
    one_class = real.assign(sick="no")
    assert tabular.efficacy(one_class, other, SCHEMA, targets=["sick"]).scores == {"sick": 0.5}
