"""How far is one set of samples from another, in the features of some backbone?

Nothing in here is an "FID" or a "KID" by itself: the name of the backbone belongs to every number.
Legend: N samples of the one set (generated), R of the other (real), D features, K resamples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist

from medcodi.metrics.statistics import Estimate, bootstrap_each

NEIGHBOURS = 5
NORMAL = 1.959964  # of a 95 % interval


def check_features(features: np.ndarray, where: str, least: int = 2) -> np.ndarray:
    """float64 (N, D); ValueError for another shape, fewer than `least` rows, NaN or infinity."""
    array = np.asarray(features, np.float64)
    if array.ndim != 2:
        raise ValueError(f"{where}: expected features (N, D), got shape {array.shape}")
    if len(array) < least:
        raise ValueError(f"{where}: expected at least {least} samples, got {len(array)}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{where}: {int((~finite).sum())} of {len(array)} samples have NaN or infinite "
            "features, "
            f"first sample {int(finite.argmin())}"
        )
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
        f"{backbone}: {num_samples} samples are not more than its {dim} features. The covariance "
        "is singular and the "
        "Fréchet distance mostly bias: read it against the real-vs-real floor only, or read the "
        "kernel distance."
    )


def frechet_distance(generated: np.ndarray, real: np.ndarray) -> float:
    """|mu_x - mu_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^1/2) (Dowson & Landau 1982; Heusel et al. 2017)
    of (N, D) and (R, D).

    With S_x = A^T A and S_y = B^T B the root's trace is the sum of the singular values of A B^T:
    exact for singular covariances too, never complex, and min(N, D) x min(R, D) in size.
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


# patients of the two sets; None: every row its own
Groups = tuple[Sequence[Any] | None, Sequence[Any] | None]


def frechet_estimate(
    generated: np.ndarray, real: np.ndarray, groups: Groups = (None, None)
) -> Estimate:
    """`frechet_distance` with a 95 % interval by the infinitesimal jackknife over patients (Jaeckel
    1972).

    A bootstrap repeats rows, which adds to the bias of 1/N; here each patient's influence is the
    derivative by the weight of its rows, which the singular vectors U, V of A B^T give at once: d
    tr(S_x S_y)^1/2 / dw_i = 1/2 (U s U^T)_ii. The interval is that of the biased distance; where N
    is not above D it is up to a fourth too wide (on normal samples).
    """
    value, sd = _frechet_and_sd(*_pair(generated, real), groups)
    return Estimate(value, max(value - NORMAL * sd, 0.0), value + NORMAL * sd, len(generated))


def _frechet_and_sd(x: np.ndarray, y: np.ndarray, groups: Groups) -> tuple[float, float]:
    offset = x.mean(axis=0) - y.mean(axis=0)  # D
    centred = [part - part.mean(axis=0) for part in (x, y)]
    (q, a), (p, b) = (_orthogonal_factor(part) for part in centred)
    u, s, vt = np.linalg.svd(a @ b.T, full_matrices=False)
    value = offset @ offset + (a**2).sum() + (b**2).sum() - 2 * s.sum()
    variance = 0.0
    for part, basis, sign, group in zip(centred, (q @ u, p @ vt.T), (2, -2), groups, strict=True):
        influence = sign * part @ offset + (part**2).sum(axis=1) - len(part) * (basis**2 @ s)  # N
        members = (
            np.arange(len(part))
            if group is None
            else np.unique(np.asarray(group), return_inverse=True)[1]
        )
        of_group = np.bincount(members, influence - influence.mean())
        if len(of_group) < 2:
            return float(max(value, 0.0)), float("nan")
        variance += len(of_group) / (len(of_group) - 1) * (of_group**2).sum() / len(part) ** 2
    return float(max(value, 0.0)), float(np.sqrt(variance))


def _orthogonal_factor(centred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q, A with orthonormal columns in Q, Q A sqrt(N - 1) the rows (N, D), A^T A their
    covariance."""
    if len(centred) <= centred.shape[1]:
        return np.eye(len(centred)), centred / np.sqrt(len(centred) - 1)
    q, r = np.linalg.qr(centred)
    return q, r / np.sqrt(len(centred) - 1)


def extrapolated_frechet(
    generated: np.ndarray,
    real: np.ndarray,
    groups: Groups = (None, None),
    num_sizes: int = 5,
    num_repeats: int = 8,
    seed: int = 0,
) -> Estimate:
    """The Fréchet distance at 1/N = 0, by a line through subsets from half to all of both sets
    (Chong & Forsyth 2020).

    May be below zero where the two are alike. Straight only once N is well above D. The interval
    adds the standard error of the line to the jackknife's.
    """
    x, y = _pair(generated, real, 8)
    rng = np.random.default_rng(seed)
    inverse, values = [], []
    for share in np.linspace(0.5, 1, num_sizes):
        for _ in range(num_repeats if share < 1 else 1):
            rows = [
                rng.choice(len(part), max(int(share * len(part)), 2), replace=False)
                for part in (x, y)
            ]
            inverse.append(1 / len(rows[0]))
            values.append(frechet_distance(x[rows[0]], y[rows[1]]))
    line = stats.linregress(inverse, values)
    sd = float(np.hypot(_frechet_and_sd(x, y, groups)[1], line.intercept_stderr))
    return Estimate(
        float(line.intercept),
        float(line.intercept - NORMAL * sd),
        float(line.intercept + NORMAL * sd),
        len(x),
    )


def kernel_distance(
    generated: np.ndarray,
    real: np.ndarray,
    groups: Groups = (None, None),
    num_resamples: int = 500,
    seed: int = 0,
) -> Estimate:
    """Unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, "KID") and its
    bootstrap interval.

    Each resample draws patients (`groups` of the two sets; default: every row its own) and weighs
    rows by how often they were drawn; pairs of a row with itself never count, so that repeated rows
    bring no bias. May be below zero.
    """
    x, y = _pair(generated, real)
    kernels = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    for kernel in kernels[:2]:
        np.fill_diagonal(kernel, 0.0)
    rng = np.random.default_rng(seed)
    ones = np.ones((1, len(x))), np.ones((1, len(y)))
    drawn = [
        group_weights(len(part), group, num_resamples, rng)
        for part, group in zip((x, y), groups, strict=True)
    ]
    value = float(_weighted_mmd(kernels, *ones)[0])
    low, high = np.quantile(_weighted_mmd(kernels, *drawn), [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(x))


def group_weights(
    num_rows: int, groups: Sequence[Any] | None, num_resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """(K, num_rows): how often each row stands in a resample of the groups."""
    members = (
        np.arange(num_rows)
        if groups is None
        else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    num_groups = int(members.max()) + 1
    return rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), num_resamples)[
        :, members
    ].astype(float)


def _weighted_mmd(kernels: Sequence[np.ndarray], u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(K,) from row weights u (K, N), v (K, R)."""
    within = [
        np.einsum("kn,kn->k", w @ kernel, w) / (w.sum(axis=1) ** 2 - (w**2).sum(axis=1))
        for w, kernel in ((u, kernels[0]), (v, kernels[1]))
    ]
    across = np.einsum("kr,kr->k", u @ kernels[2], v) / (u.sum(axis=1) * v.sum(axis=1))
    return within[0] + within[1] - 2 * across


def neighbour_figures(
    generated: np.ndarray,
    real: np.ndarray,
    groups: Groups = (None, None),
    neighbours: int = NEIGHBOURS,
    num_resamples: int = 500,
    seed: int = 0,
) -> dict[str, Estimate]:
    """precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020) with k
    nearest neighbours.

    Intervals are over the patients whose samples a figure averages (generated: precision, density;
    real: recall, coverage), the neighbourhoods held fixed.
    """
    x, y = _pair(generated, real, neighbours + 2)
    real_radius, generated_radius = _radius(y, neighbours), _radius(x, neighbours)
    distances = cdist(x, y)  # N, R
    inside = distances <= real_radius  # in the ball of a real sample
    of_generated = {"precision": inside.any(axis=1), "density": inside.sum(axis=1) / neighbours}
    of_real = {
        "recall": (distances <= generated_radius[:, None]).any(axis=0),
        "coverage": inside.any(axis=0),
    }
    figures: dict[str, Estimate] = {}
    for shares, group in ((of_generated, groups[0]), (of_real, groups[1])):
        values = np.stack(list(shares.values()), axis=1)
        made = bootstrap_each(
            lambda rows, v=values: v[rows].mean(axis=0), len(values), group, num_resamples, seed
        )
        figures |= dict(zip(shares, made, strict=True))
    return {name: figures[name] for name in ("precision", "recall", "density", "coverage")}


def _radius(x: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance of each row to its k-th nearest other row."""
    return np.partition(cdist(x, x), neighbours, axis=1)[
        :, neighbours
    ]  # position 0 is the row itself
