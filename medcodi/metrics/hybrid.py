"""Images with their table rows as one record: mixing ratios, and statistics of outcome scores and
of ranks.

After Kikuchi et al. (J Imaging Inform Med 2024). The networks stand in `networks/records.py`.
Legend: N records, D features of a row.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from medcodi.data.table import TableSchema
from medcodi.metrics.statistics import Estimate

RATIOS = (1.0, 0.75, 0.5, 0.25, 0.0)  # shares of real records


def row_features(
    rows: Sequence[dict], schema: TableSchema, without: Sequence[str] = ()
) -> np.ndarray:
    """Rows -> (N, D): numbers as the schema encodes them (0 where missing) and one-hot categories,
    each column with a state "missing". `without` names columns to leave out, such as the outcome.
    ValueError for one that is not there."""
    if unknown := sorted(set(without) - set(schema.names)):
        raise ValueError(f"no such column {unknown}; the table has {schema.names}")
    encoded, parts = schema.encode(list(rows)).numpy(), []
    for j, column in enumerate(schema.columns):
        if column.name in without:
            continue
        missing = np.isnan(encoded[:, j])
        known = np.where(missing, 0, encoded[:, j])
        if column.is_discrete:
            parts.append((known[:, None] == np.arange(len(column.categories))) & ~missing[:, None])
        else:
            parts.append(known[:, None])
        parts.append(missing[:, None])
    return np.concatenate(parts, axis=1, dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class Records:
    """`images` (N, H, W) float in [0, 1], `rows` (N, D) features and `outcome` (N,) bool."""

    images: np.ndarray
    rows: np.ndarray
    outcome: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.rows) == len(self.outcome):
            lengths = len(self.images), len(self.rows), len(self.outcome)
            raise ValueError(f"a record is an image, a row and an outcome; got {lengths} of them")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: np.ndarray) -> "Records":
        return Records(self.images[chosen], self.rows[chosen], self.outcome[chosen])

    def __add__(self, other: "Records") -> "Records":
        parts = (
            np.concatenate([getattr(r, f.name) for r in (self, other)])
            for f in dataclasses.fields(self)
        )
        return Records(*parts)


def replaced(real: Records, synthetic: Records, share_real: float, seed: int = 0) -> Records:
    """As many records as the real set, of which `share_real` are real, others replaced by synthetic
    ones at random.

    ValueError when there are too few synthetic records."""
    if not 0 <= share_real <= 1:
        raise ValueError(f"the share of real records lies in [0, 1], got {share_real}")
    kept = round(share_real * len(real))
    if len(synthetic) < len(real) - kept:
        raise ValueError(f"{len(real) - kept} synthetic records needed, there are {len(synthetic)}")
    rng = np.random.default_rng(seed)
    order, others = rng.permutation(len(real)), rng.permutation(len(synthetic))
    return real.take(order[:kept]) + synthetic.take(others[: len(real) - kept])


@dataclasses.dataclass(frozen=True)
class DeLong:
    """Two correlated AUCs, their difference (first minus second) with a 95 % interval, and the
    two-sided `p`."""

    first: Estimate
    second: Estimate
    difference: Estimate
    p: float


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> DeLong:
    """DeLong's test of two scores (N,) on the same binary `labels` (N,) (DeLong, DeLong,
    Clarke-Pearson 1988), with the midrank form of the structural components (Sun and Xu 2014).

    ValueError for NaN and when a class has fewer than two rows (its variance is then unknown).
    """
    positive = np.asarray(labels).astype(bool)
    scores = np.stack([np.asarray(first, float), np.asarray(second, float)])
    if scores.shape != (2, len(positive)) or np.isnan(scores).any():
        raise ValueError(
            f"expected two scores without NaN for each of {len(positive)} labels, got shape "
            f"{scores.shape}"
        )
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise ValueError(
            f"DeLong's test needs two rows or more of each class, got {m} positive and {n} negative"
        )
    # V10_i = P(X_i > Y), V01_j = P(X > Y_j), ties one half; midranks count both without the m x n
    # comparisons.
    whole = stats.rankdata(scores, axis=1)
    v10 = (whole[:, positive] - stats.rankdata(scores[:, positive], axis=1)) / n  # 2, m
    v01 = 1 - (whole[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)) / m  # 2, n
    values = v10.mean(axis=1)
    covariance = np.cov(v10) / m + np.cov(v01) / n  # 2, 2
    variance = max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)
    difference, sd = values[0] - values[1], np.sqrt(variance)
    p = 2 * stats.norm.sf(abs(difference) / sd) if sd > 0 else float(difference == 0)
    return DeLong(
        _normal(values[0], np.sqrt(covariance[0, 0]), len(positive), (0, 1)),
        _normal(values[1], np.sqrt(covariance[1, 1]), len(positive), (0, 1)),
        _normal(difference, sd, len(positive), (-1, 1)),
        float(p),
    )


def _normal(value: float, sd: float, n: int, bounds: tuple[float, float]) -> Estimate:
    low, high = np.clip([value - 1.959964 * sd, value + 1.959964 * sd], *bounds)
    return Estimate(float(value), float(low), float(high), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: sorted p times the number of hypotheses left, made monotone, at
    most 1."""
    p = np.asarray(p_values, float)
    if np.isnan(p).any() or (p < 0).any() or (p > 1).any():
        raise ValueError(f"p-values lie in [0, 1], got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted.tolist()


def rank_summary(ranks: np.ndarray) -> dict[str, Any]:
    """Median and quartiles, as the paper prints them."""
    low, median, high = np.quantile(ranks, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high), "n": len(ranks)}


def wilcoxon(first: np.ndarray, second: np.ndarray) -> float:
    """p of Wilcoxon's signed-rank test of paired ranks (N,), two-sided; 1 when all are equal."""
    if len(first) != len(second) or len(first) < 10:
        raise ValueError(f"expected 10 pairs of ranks or more, got {len(first)} and {len(second)}")
    return 1.0 if np.array_equal(first, second) else float(stats.wilcoxon(first, second).pvalue)
