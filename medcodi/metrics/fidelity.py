"""How far is one set of samples from another, in the features of some backbone?

Nothing in here is an "FID" or a "KID" by itself: the name of the backbone belongs to every number. Legend: N samples of the
one set (generated), R of the other (real), D features, K resamples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from medcodi.metrics.statistics import Estimate, bootstrap

NEIGHBOURS = 5


def check_features(features: np.ndarray, where: str, least: int = 2) -> np.ndarray:
    """float64 (N, D); ValueError for another shape, fewer than `least` rows, NaN or infinity."""
    array = np.asarray(features, np.float64)
    if array.ndim != 2:
        raise ValueError(f"{where}: expected features (N, D), got shape {array.shape}")
    if len(array) < least:
        raise ValueError(f"{where}: expected at least {least} samples, got {len(array)}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise ValueError(f"{where}: {int((~finite).sum())} of {len(array)} samples have NaN or infinite features, "
                         f"first sample {int(finite.argmin())}")  # fmt: skip
    return array


def _pair(generated: np.ndarray, real: np.ndarray, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    x, y = check_features(generated, "generated", least), check_features(real, "real", least)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"both sets need features of one width, got {x.shape[1]} and {y.shape[1]}")
    return x, y


def small_sample_note(num_samples: int, dim: int, backbone: str) -> str | None:
    """What stands beside a Fréchet distance whose covariance is singular; None where it is not."""
    if num_samples > dim:
        return None
    return (
        f"{backbone}: {num_samples} samples are not more than its {dim} features. The covariance is singular and the "
        "Fréchet distance mostly bias: read it against the real-vs-real floor only, or read the kernel distance."
    )


def frechet_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """|mu_x - mu_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^1/2) (Dowson & Landau 1982; Heusel et al. 2017) of (N, D) and (R, D).

    With S_x = A^T A and S_y = B^T B the root's trace is the sum of the singular values of A B^T: exact for singular
    covariances too, never complex, and min(N, D) x min(R, D) in size.
    """
    x, y = _pair(generated, real)
    a, b = _covariance_factor(x), _covariance_factor(y)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    offset = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    return float(max(offset + (a**2).sum() + (b**2).sum() - 2 * cross, 0.0))


def _covariance_factor(x: np.ndarray) -> np.ndarray:
    """A (min(N, D), D) with A^T A the unbiased covariance."""
    centred = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    return np.linalg.qr(centred, mode="r") if len(x) > x.shape[1] else centred


def extrapolated_frechet(
    generated: np.ndarray, real: np.ndarray, num_sizes: int = 5, num_repeats: int = 8, seed: int = 0
) -> float:
    """The Fréchet distance at 1/N = 0, by a line through subsets from half to all of both sets (Chong & Forsyth 2020).

    May be below zero where the two are alike. Straight only once N is well above D.
    """
    x, y = _pair(generated, real, 8)
    rng = np.random.default_rng(seed)
    inverse, values = [], []
    for share in np.linspace(0.5, 1, num_sizes):
        for _ in range(num_repeats if share < 1 else 1):
            rows = [rng.choice(len(part), max(int(share * len(part)), 2), replace=False) for part in (x, y)]
            inverse.append(1 / len(rows[0]))
            values.append(frechet_distance(x[rows[0]], y[rows[1]]))
    return float(np.polyfit(inverse, values, 1)[1])


def kernel_distance(
    generated: np.ndarray, real: np.ndarray, groups: tuple[Sequence[Any] | None, Sequence[Any] | None] = (None, None),
    num_resamples: int = 500, seed: int = 0,
) -> Estimate:  # fmt: skip
    """Unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, "KID") and its bootstrap interval.

    Each resample draws patients (`groups` of the two sets; default: every row its own) and weighs rows by how often they
    were drawn; pairs of a row with itself never count, so that repeated rows bring no bias. May be below zero.
    """
    x, y = _pair(generated, real)
    kernels = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    for kernel in kernels[:2]:
        np.fill_diagonal(kernel, 0.0)
    rng = np.random.default_rng(seed)
    ones = np.ones((1, len(x))), np.ones((1, len(y)))
    drawn = [_weights(len(part), group, num_resamples, rng) for part, group in zip((x, y), groups, strict=True)]
    value = float(_weighted_mmd(kernels, *ones)[0])
    low, high = np.quantile(_weighted_mmd(kernels, *drawn), [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(x))


def _weights(num_rows: int, groups: Sequence[Any] | None, num_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """(K, num_rows): how often each row stands in a resample of the groups."""
    members = np.arange(num_rows) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    num_groups = int(members.max()) + 1
    return rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), num_resamples)[:, members].astype(float)


def _weighted_mmd(kernels: Sequence[np.ndarray], u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(K,) from row weights u (K, N), v (K, R)."""
    within = [
        np.einsum("kn,kn->k", w @ kernel, w) / (w.sum(axis=1) ** 2 - (w**2).sum(axis=1))
        for w, kernel in ((u, kernels[0]), (v, kernels[1]))
    ]
    across = np.einsum("kr,kr->k", u @ kernels[2], v) / (u.sum(axis=1) * v.sum(axis=1))
    return within[0] + within[1] - 2 * across


def neighbour_figures(
    generated: np.ndarray, real: np.ndarray, neighbours: int = NEIGHBOURS, num_resamples: int = 500, seed: int = 0
) -> dict[str, Estimate]:
    """precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020) with k nearest neighbours.

    Intervals are over the samples that a figure averages (generated: precision, density; real: recall, coverage), the
    neighbourhoods held fixed.
    """
    x, y = _pair(generated, real, neighbours + 2)
    real_radius, generated_radius = _radius(y, neighbours), _radius(x, neighbours)
    distances = cdist(x, y)  # N, R
    inside = distances <= real_radius  # in the ball of a real sample
    shares = {
        "precision": inside.any(axis=1), "recall": (distances <= generated_radius[:, None]).any(axis=0),
        "density": inside.sum(axis=1) / neighbours, "coverage": inside.any(axis=0),
    }  # fmt: skip
    return {
        name: bootstrap(lambda rows, v=values: v[rows].mean(), len(values), None, num_resamples, seed)
        for name, values in shares.items()
    }


def _radius(x: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each row to its k-th nearest other row."""
    return np.partition(cdist(x, x), neighbours, axis=1)[:, neighbours]  # position 0 is the row itself
