"""How good retrieval of the same patient is. Legend: N images, D embedding width."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.metrics.statistics import Estimate, bootstrap


def retrieval_scores(
    embeddings: np.ndarray, patients: Sequence[Any], num_resamples: int = 500, seed: int = 0
) -> dict[str, Estimate]:
    """`precision@1` and `mAP@R` (Musgrave et al. 2020) of unit `embeddings` (N, D): each image asks
    for the other images of its patient, R of them. Intervals resample patients.

    ValueError when no patient has two images.
    """
    owners = np.unique(np.asarray(patients), return_inverse=True)[1]
    counts = np.bincount(owners)[owners] - 1  # (N,) R
    asked = np.flatnonzero(counts > 0)
    if not len(asked):
        raise ValueError("no patient has two images: retrieval of the same patient has no meaning")
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    first, average = np.zeros(len(asked)), np.zeros(len(asked))
    for row, query in enumerate(asked):
        order = np.argsort(-similarity[query], kind="stable")[: counts[query]]
        hits = owners[order] == owners[query]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        first[row], average[row] = hits[0], (precision * hits).sum() / counts[query]
    groups = owners[asked].tolist()

    def estimate(values: np.ndarray) -> Estimate:
        mean = lambda rows: float(values[rows].mean())
        return bootstrap(mean, len(values), groups, num_resamples, seed)

    return {"precision@1": estimate(first), "mAP@R": estimate(average)}
