"""Agreement of two label vectors, corrected for chance (MedCoDi-M, Figure 7). Legend: N rows, K
findings."""

import numpy as np

from medcodi.metrics.statistics import Estimate, paired_difference


def _checked(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise ValueError(
            f"expected two label tables (N, K) of one shape, got {a.shape} and {b.shape}"
        )
    return a, b


def hamming(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Differing labels of each row, (N,) from 0 to K."""
    a, b = _checked(first, second)
    return (a != b).sum(axis=1)


def chance_hamming(first: np.ndarray, second: np.ndarray) -> float:
    """Mean distance over all N^2 pairings: what labels that know nothing of each other have with
    these frequencies."""
    a, b = _checked(first, second)
    p, q = a.mean(axis=0), b.mean(axis=0)
    return float((p * (1 - q) + q * (1 - p)).sum())


def corrected_agreement(first: np.ndarray, second: np.ndarray) -> float:
    """1 - mean distance / chance: 1 is full agreement, 0 chance. NaN when both sides are the same
    constant.

    A side that says nothing at all has a small distance and no agreement: it is 0 here.
    """
    chance = chance_hamming(first, second)
    return float(1 - hamming(first, second).mean() / chance) if chance > 0 else float("nan")


def agreement_difference(
    joint: tuple[np.ndarray, np.ndarray],
    independent: tuple[np.ndarray, np.ndarray],
    num_resamples: int = 500,
    seed: int = 0,
) -> Estimate:
    """Corrected agreement of joint less independent outputs of the same N rows, paired."""
    first, second = (
        lambda rows, p=pair: corrected_agreement(p[0][rows], p[1][rows])
        for pair in (joint, independent)
    )
    return paired_difference(first, second, len(joint[0]), None, num_resamples, seed)
