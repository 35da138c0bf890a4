"""Independent marginals must fail what `shape` lets pass; known moments; a hand-made trend."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sdmetrics", reason="the extra `eval` is not installed")
pytest.importorskip("lightgbm", reason="the extra `eval` is not installed")

from medcodi.data.table import Column, TableSchema
from medcodi.metrics import tabular

SCHEMA = TableSchema(
    [Column("sick", "categorical", ["no", "yes"]), Column("icu", "categorical", ["no", "yes"]),
     Column("pulse", "continuous"), Column("days", "integer")]
)  # fmt: skip


def rows(n: int, seed: int) -> list[dict]:
    """`icu`, `pulse` and `days` follow `sick`; 5 % of the pulses are missing."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        sick = rng.random() < 0.4
        pulse = None if rng.random() < 0.05 else float(80 + 25 * sick + rng.normal(0, 8))
        made.append({"sick": "yes" if sick else "no", "icu": "yes" if rng.random() < 0.05 + 0.7 * sick else "no",
                     "pulse": pulse, "days": int(3 + 8 * sick + rng.poisson(2))})  # fmt: skip
    return made


def frames(n: int = 300):
    real, other = (tabular.table_frame(rows(n, seed), SCHEMA) for seed in (0, 1))
    return real, other, tabular.independent_marginals(other, seed=0)


def test_independent_marginals_pass_shape_and_fail_the_rest():
    real, other, independent = frames()
    by_real, by_marginals = (tabular.shape_and_trend(real, frame, SCHEMA) for frame in (other, independent))
    assert by_marginals["shape"] == pytest.approx(by_real["shape"]) and by_marginals["shape"] > 0.93
    assert by_marginals["trend"] < by_real["trend"] - 0.1
    told, fails = tabular.two_sample(real, other, SCHEMA), tabular.two_sample(real, independent, SCHEMA)
    assert told["auc"].low < 0.5 < told["auc"].high and fails["auc"].low > 0.75
    assert fails["score"] < 0.5 < told["score"]
    useful, useless = tabular.efficacy(other, real, SCHEMA), tabular.efficacy(independent, real, SCHEMA)
    assert useful.mean.low > 0.85 and useless.mean.value < 0.7
    assert set(useful.scores) == {"sick", "icu"}


def test_shape_falls_when_a_column_moves():
    real, other, _ = frames()
    shapes = [
        tabular.shape_and_trend(real, other.assign(pulse=other.pulse + shift), SCHEMA)["shape"] for shift in (0, 10, 40)
    ]
    assert shapes[0] > shapes[1] > shapes[2]


def test_trend_of_a_hand_made_pair():
    schema = TableSchema([Column("a", "categorical", ["x", "y"]), Column("b", "categorical", ["x", "y"])])
    same = pd.DataFrame({"a": ["x", "y"] * 20, "b": ["x", "y"] * 20})
    swapped = pd.DataFrame({"a": ["x", "y"] * 20, "b": ["y", "x"] * 20})
    assert tabular.shape_and_trend(same, swapped, schema) == {"shape": 1.0, "trend": 0.0, "columns": {"a": 1.0, "b": 1.0}}
    assert tabular.shape_and_trend(same, same, schema)["trend"] == 1.0


def test_moments():
    frame = tabular.table_frame(rows(200, 0), SCHEMA)
    figures = {f["column"]: f for f in tabular.moments(frame, SCHEMA)}
    pulse = frame.pulse.dropna()
    assert figures["pulse"]["mean"] == pytest.approx(pulse.mean()) and figures["pulse"]["sd"] == pytest.approx(pulse.std())
    assert figures["pulse"]["n"] == len(pulse) and figures["pulse"]["missing"] == pytest.approx(1 - len(pulse) / 200)
    assert sum(figures["sick"]["shares"].values()) == pytest.approx(1)
    normal = tabular.table_frame([{"pulse": float(v)} for v in np.random.default_rng(0).normal(size=4000)], SCHEMA)
    figures = {f["column"]: f for f in tabular.moments(normal, SCHEMA)}
    assert abs(figures["pulse"]["kurtosis"]) < 0.3 and abs(figures["pulse"]["skewness"]) < 0.15  # excess: 0, not 3
    assert figures["days"]["n"] == 0 and np.isnan(figures["days"]["mean"])


def test_a_constant_column_is_left_out_of_trend():
    real, other, _ = frames(60)
    assert np.isfinite(tabular.shape_and_trend(real, other.assign(days=4.0), SCHEMA)["trend"])


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
        tabular.shape_and_trend(real, other.assign(pulse=np.nan), SCHEMA)
    with pytest.raises(ValueError, match="two classes of 5 or more"):
        tabular.efficacy(real, other.assign(sick="no", icu="no"), SCHEMA)
    with pytest.raises(ValueError, match="must be discrete"):
        tabular.efficacy(real, other, SCHEMA, targets=["pulse"])
    one_class = real.assign(sick="no")
    assert tabular.efficacy(one_class, other, SCHEMA, targets=["sick"]).scores == {"sick": 0.5}
