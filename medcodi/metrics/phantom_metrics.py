"""What is measured of a reading of phantom outputs: findings, sides, heart size, outcomes.

Legend: N studies.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from medcodi.metrics.phantom_readings import (
    BINARY_COLUMNS,
    KEY_FINDINGS,
    NUMERIC_COLUMNS,
    REPORT_FINDINGS,
    Reading,
)
from medcodi.metrics.statistics import auc, f1, macro_f1, pearson, spearman


@dataclass(frozen=True)
class Metric:
    """`function(read, truth) -> value`, more is better. `constant(truth)` is the value of the best
    output that ignores its prompt (None: it is computed from a constant output); `rows(truth)` (N,)
    bool restricts the studies; `positives(read, truth)` counts the positive cases that an AUC or F1
    rests on."""

    name: str
    function: Callable[[Reading, Reading], float]
    constant: Callable[[Reading], float] | None = None
    rows: Callable[[Reading], np.ndarray] | None = None
    positives: Callable[[Reading, Reading], float] | None = None


def _auc_of(key: str, name: str, rows: Callable[[Reading], np.ndarray] | None = None) -> Metric:
    return Metric(
        name,
        lambda read, truth: auc(truth[key] > 0, read[key]),
        lambda truth: 0.5,
        rows,
        lambda read, truth: (truth[key] > 0).sum(),
    )


def _one_sided(key: str) -> Callable[[Reading], np.ndarray]:
    return lambda truth: truth[key] != 0


def _mean_auc(read: Reading, truth: Reading) -> float:
    return float(np.mean([auc(truth[key] > 0, read[key]) for key in KEY_FINDINGS]))


IMAGE_METRICS = (
    Metric("mean AUC of the four findings", _mean_auc, lambda truth: 0.5),
    *(_auc_of(key, f"{key.replace('_', ', ')}: AUC") for key in KEY_FINDINGS),
    _auc_of("effusion_side", "side of a one-sided effusion: AUC", _one_sided("effusion_side")),
    _auc_of("consolidation_side", "side of a consolidation: AUC", _one_sided("consolidation_side")),
    Metric(
        "cardiothoracic ratio: Pearson r",
        lambda r, t: pearson(r["ctr"], t["ctr"]),
        lambda truth: 0.0,
    ),
)


def _findings(read: Reading) -> np.ndarray:
    return np.stack([read[key] for key in REPORT_FINDINGS], axis=1) > 0  # (N, K)


def _f1_of(key: str) -> Metric:
    return Metric(
        f"{key.replace('_', ', ')}: F1",
        lambda read, truth: f1(truth[key], read[key]),
        positives=lambda read, truth: truth[key].sum(),
    )


def _side_accuracy(key: str, name: str) -> Metric:
    return Metric(
        name,
        lambda read, truth: (
            float((read[key] == truth[key]).mean()) if len(truth[key]) else math.nan
        ),
        lambda truth: (
            float(max((truth[key] > 0).mean(), (truth[key] < 0).mean()))
            if len(truth[key])
            else math.nan
        ),
        _one_sided(key),
    )


REPORT_METRICS = (
    Metric("11 findings: micro F1", lambda read, truth: f1(_findings(truth), _findings(read))),
    Metric(
        "11 findings: macro F1", lambda read, truth: macro_f1(_findings(truth), _findings(read))
    ),
    *(_f1_of(key) for key in KEY_FINDINGS),
    _side_accuracy("effusion_side", "side of a one-sided effusion: accuracy"),
    _side_accuracy("consolidation_side", "side of a consolidation: accuracy"),
    Metric(
        "heart grade with true ratio: Spearman",
        lambda r, t: spearman(r["ctr"], t["ctr"]),
        lambda truth: 0.0,
    ),
)


def _risk_auc(column: str) -> Callable[[Reading, Reading], float]:
    """How well the true risk separates the rows that say yes from those that say no: a generated
    row is one draw, so its column plays the label and the truth the score."""

    def value(read: Reading, truth: Reading) -> float:
        known = ~np.isnan(read[column])
        return auc(read[column][known] > 0, truth["risk"][known])

    return value


def _mean_risk_auc(read: Reading, truth: Reading) -> float:
    """Over the columns in which both answers occur."""
    values = [_risk_auc(column)(read, truth) for column in BINARY_COLUMNS]
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


TABLE_METRICS = (
    Metric("mean AUC of the four outcomes", _mean_risk_auc, lambda truth: 0.5),
    *(
        Metric(
            f"{column.replace('_', ' ')} by true risk: AUC",
            _risk_auc(column),
            lambda truth: 0.5,
            None,
            lambda read, truth, c=column: np.nansum(read[c]),
        )
        for column in BINARY_COLUMNS
    ),
    *(
        Metric(
            f"{'low ' if sign < 0 else ''}{column.replace('_', ' ')} with true risk: Spearman",
            lambda read, truth, c=column, s=sign: s * spearman(read[c], truth["risk"]),
            lambda truth: 0.0,
        )
        for column, sign in NUMERIC_COLUMNS.items()
    ),
)
