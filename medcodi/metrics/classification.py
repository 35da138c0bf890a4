"""AUC and F1 of findings with masked labels, per finding and micro, macro, weighted. Legend: N
rows, K findings.

A label NaN is unknown and left out of everything. A figure that has one class only is NaN and left
out of the averages.
"""

from collections.abc import Callable

import numpy as np

from medcodi.metrics.statistics import auc, f1

AVERAGES = ("micro", "macro", "weighted")


def auc_scores(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(K + 3,): each finding, micro (all known pairs at once), macro, weighted by positives."""
    return _with_averages(labels, scores, auc)


def f1_scores(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """(K + 3,) of binary predictions, as `auc_scores`; a finding without a positive label has no
    F1."""
    return _with_averages(labels, predictions, lambda t, p: f1(t, p) if np.any(t) else float("nan"))


def _with_averages(
    labels: np.ndarray, read: np.ndarray, figure: Callable[[np.ndarray, np.ndarray], float]
) -> np.ndarray:
    labels, read = np.asarray(labels, float), np.asarray(read, float)
    if labels.shape != read.shape:
        raise ValueError(
            f"labels and readings must have one shape, got {labels.shape} and {read.shape}"
        )
    known = ~np.isnan(labels)
    each = np.array(
        [figure(labels[k, i], read[k, i]) if k.any() else np.nan for i, k in enumerate(known.T)]
    )
    defined, positives = ~np.isnan(each), np.nansum(labels, axis=0)
    if not defined.any():
        return np.full(len(each) + len(AVERAGES), np.nan)
    counted = known & defined[None]
    weight = positives[defined]
    weighted = float((each[defined] * weight).sum() / weight.sum()) if weight.sum() else np.nan
    return np.array([*each, figure(labels[counted], read[counted]), each[defined].mean(), weighted])


def best_thresholds(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(K,) thresholds with the highest F1 on these rows (meant: real validation studies); 0.5 where
    there is no positive."""
    thresholds = np.full(labels.shape[1], 0.5)
    for i, (truth, column) in enumerate(zip(labels.T, scores.T, strict=True)):
        known = ~np.isnan(truth)
        candidates = (
            np.unique(np.quantile(column[known], np.linspace(0, 1, 101))) if known.any() else []
        )
        if len(candidates) and np.nansum(truth):
            values = [f1(truth[known], column[known] >= t) for t in candidates]
            thresholds[i] = candidates[int(np.argmax(values))]
    return thresholds
