"""Paired comparison of two systems by approximate randomisation.

Noreen 1989, Computer-Intensive Methods for Testing Hypotheses; for scores of texts Riezler and
Maxwell 2005.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

CHUNK = 500  # randomisations at once


def approximate_randomisation(
    differences: np.ndarray,
    groups: Sequence[Any] | None = None,
    num_randomisations: int = 10_000,
    seed: int = 0,
) -> float:
    """Two-sided p-value of the mean of paired `differences` (N,).

    If the two systems were alike, their values could be exchanged: the sign of a difference is
    drawn anew, for all rows of a group (patient) together. p = (1 + how often the mean is at least
    as far from 0) / (1 + randomisations). ValueError without a row, or for one that is not finite.
    """
    differences = np.asarray(differences, float)
    if not len(differences) or not np.isfinite(differences).all():
        raise ValueError(f"expected one finite difference or more, got {differences.tolist()[:8]}")
    if groups is None:
        sums = differences
    else:
        _, inverse = np.unique(np.asarray(groups), return_inverse=True)
        sums = np.bincount(inverse, weights=differences)  # (G,)
    observed, rng, extreme = abs(sums.sum()), np.random.default_rng(seed), 0
    slack = 1e-12 * np.abs(sums).sum()  # equal sums differ by rounding
    for start in range(0, num_randomisations, CHUNK):
        size = (min(CHUNK, num_randomisations - start), len(sums))
        signs = rng.integers(2, size=size) * 2 - 1
        extreme += int((np.abs(signs @ sums) >= observed - slack).sum())
    return (1 + extreme) / (1 + num_randomisations)
