"""Shape and trend of a table, by SDMetrics' formulas, on weighted rows, so that they have
intervals.

SDMetrics itself is MIT, its dependency copulas BUSL-1.1: it is the extra `sdmetrics`, and
`sdmetrics_scores` compares.
Legend: N rows, K resamples, B categories or bins.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from medcodi.data.table import Column, TableSchema
from medcodi.metrics.fidelity import NORMAL, Groups, group_weights
from medcodi.metrics.statistics import Estimate

NUM_BINS = 10


def shape_and_trend(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: TableSchema,
    groups: Groups = (None, None),
    num_resamples: int = 200,
    seed: int = 0,
) -> dict[str, Any]:
    """`shape` (mean over columns of KSComplement or TVComplement) and `trend` (mean over pairs of
    columns of CorrelationSimilarity, or ContingencySimilarity with numbers in the 10 bins of the
    real ones), both in [0, 1], and `columns`: name -> shape, each an Estimate.

    Every pair counts: the quality report of current SDMetrics leaves out pairs with a weak sample
    correlation, so that its trend is a mean over another set of pairs at every N. A pair with a
    constant has no correlation and is left out.
    Intervals: the value and 1.96 standard deviations of a bootstrap by patient (`groups` of both
    sides); its quantiles would lie too low, because resampled distances are larger.
    A synthetic column without a value has shape 0, and so have its pairs trend 0. ValueError for
    fewer than two columns, and for a real column without a value.
    """
    if len(schema.columns) < 2:
        raise ValueError(f"trend needs two columns or more, got {schema.names}")
    if empty := [n for n in schema.names if real[n].isna().all()]:
        raise ValueError(f"real columns without a value: {empty}")
    lost = {n for n in schema.names if synthetic[n].isna().all()}
    nothing = np.zeros(num_resamples + 1)
    rng = np.random.default_rng(seed)
    weights = [
        np.concatenate(
            [np.ones((1, len(frame))), group_weights(len(frame), group, num_resamples, rng)]
        )  # the value first
        for frame, group in zip((real, synthetic), groups, strict=True)
    ]
    frames = (real, synthetic)
    columns = {  # (K + 1,) each
        c.name: nothing if c.name in lost else _column_shape(frames, weights, c)
        for c in schema.columns
    }
    binned = {c.name: _states(frames, c) for c in schema.columns}
    trends = [
        nothing if lost & {a.name, b.name} else _pair_trend(frames, weights, binned, a, b)
        for a, b in itertools.combinations(schema.columns, 2)
    ]
    trends = [scores for scores in trends if not np.isnan(scores[0])]
    scores = {"shape": np.mean(list(columns.values()), axis=0)}
    scores["trend"] = np.nanmean(trends, axis=0) if trends else np.full(num_resamples + 1, np.nan)
    made = {name: _estimate(drawn, len(synthetic)) for name, drawn in (scores | columns).items()}
    return {
        "shape": made["shape"],
        "trend": made["trend"],
        "columns": {name: made[name] for name in columns},
    }


def _estimate(scores: np.ndarray, num_rows: int) -> Estimate:
    value, drawn = float(scores[0]), scores[1:][~np.isnan(scores[1:])]
    spread = NORMAL * float(drawn.std(ddof=1)) if len(drawn) > 1 else np.nan
    return Estimate(value, max(value - spread, 0.0), min(value + spread, 1.0), num_rows)


def _shares(states: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """(K, size): weighted shares of the states 0, 1, ..."""
    counts = np.stack([np.bincount(states, row, size) for row in weights])
    with np.errstate(invalid="ignore"):  # a resample without a known value
        return counts / counts.sum(axis=1, keepdims=True)


Frames = tuple[pd.DataFrame, pd.DataFrame]


def _column_shape(frames: Frames, weights: Sequence[np.ndarray], column: Column) -> np.ndarray:
    """1 - distance of the known values' distributions: total variation, or Kolmogorov-Smirnov."""
    known = [frame[column.name].notna().to_numpy() for frame in frames]
    values = [frame[column.name].to_numpy()[k] for frame, k in zip(frames, known, strict=True)]
    grid, states = np.unique(
        np.concatenate([v.astype(str if column.is_discrete else float) for v in values]),
        return_inverse=True,
    )
    parts = np.split(states, [len(values[0])])
    p, q = (_shares(s, w[:, k], len(grid)) for s, w, k in zip(parts, weights, known, strict=True))
    if column.is_discrete:
        return 1 - np.abs(p - q).sum(axis=1) / 2
    return 1 - np.abs(p.cumsum(axis=1) - q.cumsum(axis=1)).max(axis=1)


def _states(frames: Frames, column: Column) -> list[np.ndarray]:
    """Categories, or bins of the real numbers, as 0, 1, ... of both sides; missing is a state of
    its own, 0."""
    if column.is_discrete:
        return [
            pd.Categorical(frame[column.name], column.categories).codes.astype(int) + 1
            for frame in frames
        ]
    edges = np.histogram_bin_edges(frames[0][column.name].dropna(), NUM_BINS)
    return [
        np.where(f[column.name].isna(), 0, np.digitize(f[column.name], edges) + 1) for f in frames
    ]


def _pair_trend(
    frames: Frames,
    weights: Sequence[np.ndarray],
    states: dict[str, list[np.ndarray]],
    first: Column,
    second: Column,
) -> np.ndarray:
    if first.is_discrete or second.is_discrete:
        size = 1 + max(int(part.max()) for part in states[second.name])
        joint = [a * size + b for a, b in zip(states[first.name], states[second.name], strict=True)]
        num_states = 1 + max(int(part.max()) for part in joint)
        p, q = (_shares(part, w, num_states) for part, w in zip(joint, weights, strict=True))
        return 1 - np.abs(p - q).sum(axis=1) / 2
    r, s = (
        _correlation(f[first.name], f[second.name], w) for f, w in zip(frames, weights, strict=True)
    )
    return 1 - np.abs(r - s) / 2


def _correlation(first: pd.Series, second: pd.Series, weights: np.ndarray) -> np.ndarray:
    """(K,) weighted Pearson r over the rows that have both; NaN for a constant."""
    both = (first.notna() & second.notna()).to_numpy()
    x, y, w = first.to_numpy(float)[both], second.to_numpy(float)[both], weights[:, both]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.full(len(w), np.nan)
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    with np.errstate(invalid="ignore", divide="ignore"):
        w = w / w.sum(axis=1, keepdims=True)
        mx, my = w @ x, w @ y
        variances = (w @ x**2 - mx**2) * (w @ y**2 - my**2)
        return (w @ (x * y) - mx * my) / np.sqrt(np.where(variances > 1e-12, variances, np.nan))


def sdmetrics_scores(
    real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema
) -> dict[str, float] | None:
    """`shape` and `trend` by SDMetrics' own classes, for comparison; None where it is not
    installed."""
    try:
        from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
        from sdmetrics.single_column import KSComplement, TVComplement
    except ImportError:
        return None
    shapes = [
        (TVComplement if c.is_discrete else KSComplement).compute(real[c.name], synthetic[c.name])
        for c in schema.columns
    ]
    states = {c.name: _states((real, synthetic), c) for c in schema.columns}
    trends = []
    for first, second in itertools.combinations(schema.columns, 2):
        pair = [first.name, second.name]
        if first.is_discrete or second.is_discrete:
            frames = (pd.DataFrame({n: states[n][side] for n in pair}) for side in range(2))
            trends.append(ContingencySimilarity.compute(*frames))
        elif min(frame[pair].dropna().nunique().min() for frame in (real, synthetic)) > 1:
            trends.append(CorrelationSimilarity.compute(real[pair], synthetic[pair]))
    return {"shape": float(np.mean(shapes)), "trend": float(np.mean(trends)) if trends else np.nan}
