"""Cosines of pairs: is an image nearer to its own report than to others?

Legend: N pairs, D width.
"""

import numpy as np

from medcodi.metrics.statistics import Estimate, shuffled_each


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of N pairs of vectors (N, D) -> (N,). ValueError for other shapes, NaN where a vector
    is zero."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"expected two sets of vectors (N, D), got {a.shape} and {b.shape}")
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def shuffled_cosine(first: np.ndarray, second: np.ndarray, seed: int = 0) -> Estimate:
    """Mean cosine over all pairs of different rows, the floor of the mean over matching pairs, and
    the range of 95 % of shufflings; NaN for one row."""
    a, b = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (np.asarray(first, float), np.asarray(second, float))
    )
    n = len(a)
    if n < 2:
        return Estimate(np.nan, np.nan, np.nan, n)
    mean = float((a.sum(axis=0) @ b.sum(axis=0) - (a * b).sum()) / (n * (n - 1)))
    drawn = shuffled_each(lambda partner: [(a * b[partner]).sum(axis=1).mean()], n, seed=seed)[0]
    return Estimate(mean, drawn.low, drawn.high, n)
