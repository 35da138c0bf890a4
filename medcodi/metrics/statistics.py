"""Statistics that stand beside every figure: bootstrap intervals, chance-corrected agreement, AUC
and correlations.

Legend: N rows (samples), G groups (patients). A figure that cannot be computed (one class only, a
constant) is NaN, never zero and never a guess.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

Statistic = Callable[[np.ndarray], float]  # row indices (n,) -> value


@dataclass(frozen=True)
class Estimate:
    """A value with its percentile interval [`low`, `high`] over `n` rows."""

    value: float
    low: float
    high: float
    n: int


def resamples(
    num_rows: int, groups: Sequence[Any] | None, num_resamples: int, seed: int
) -> list[np.ndarray]:
    """Row indices of each bootstrap resample: G groups (patients) are drawn with replacement, rows
    follow their group.

    `groups` (N,) defaults to every row being its own group.
    """
    rng = np.random.default_rng(seed)
    if groups is None:
        return list(rng.integers(num_rows, size=(num_resamples, num_rows)))
    if len(groups) != num_rows:
        raise ValueError(f"expected one group for each of {num_rows} rows, got {len(groups)}")
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(inverse == g) for g in range(inverse.max() + 1)]
    drawn = rng.integers(len(members), size=(num_resamples, len(members)))
    return [np.concatenate([members[g] for g in draw]) for draw in drawn]


def bootstrap(
    statistic: Statistic,
    num_rows: int,
    groups: Sequence[Any] | None = None,
    num_resamples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Percentile interval of `statistic(rows)`. Resamples without a value (NaN) are left out; when
    they are more than half, the interval is NaN; without a row everything is."""
    if num_rows == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    return bootstrap_each(
        lambda rows: [statistic(rows)], num_rows, groups, num_resamples, seed, confidence
    )[0]


def bootstrap_each(
    statistics: Callable[[np.ndarray], Sequence[float]],
    num_rows: int,
    groups: Sequence[Any] | None = None,
    num_resamples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Estimate]:
    """`bootstrap` of several figures that one call `statistics(rows)` gives at once, on the same
    resamples."""
    values = np.asarray(statistics(np.arange(num_rows)), float)
    drawn = np.array(
        [statistics(rows) for rows in resamples(num_rows, groups, num_resamples, seed)], float
    )
    return [
        spread(value, column, num_rows, confidence)
        for value, column in zip(values, drawn.T, strict=True)
    ]


def spread(value: float, drawn: np.ndarray, num_rows: int, confidence: float = 0.95) -> Estimate:
    """`value` between the quantiles of what was `drawn` (K,); NaN where more than half of it is
    NaN."""
    known = drawn[~np.isnan(drawn)]
    if 2 * len(known) < len(drawn) or not len(known):
        return Estimate(float(value), np.nan, np.nan, num_rows)
    with np.errstate(invalid="ignore"):  # between an infinity and a number there is none
        low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high), num_rows)


def share_of(hits: np.ndarray) -> Estimate:
    """Mean of `hits` (N,), each in [0, 1], with Wilson's interval."""
    interval = stats.binomtest(round(float(hits.sum())), len(hits)).proportion_ci(method="wilson")
    return Estimate(float(hits.mean()), float(interval.low), float(interval.high), len(hits))


def shuffled_each(
    statistics: Callable[[np.ndarray], Sequence[float]],
    num_rows: int,
    num_shuffles: int = 200,
    seed: int = 0,
) -> list[Estimate]:
    """The floor of figures of pairs: mean of `statistics(partner)` where row i is paired with row
    `partner[i]`, another study, and the range of 95 % of such shufflings. `partner` are rotations
    of one random order: none keeps its own."""
    if num_rows < 2:
        raise ValueError(f"shuffled pairs need two rows or more, got {num_rows}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(num_rows)
    turns = rng.permutation(np.arange(1, num_rows))[:num_shuffles]
    place = np.argsort(order)
    drawn = np.array([statistics(order[(place + turn) % num_rows]) for turn in turns], float)
    with np.errstate(all="ignore"):
        means = np.array(
            [c[~np.isnan(c)].mean() if (~np.isnan(c)).any() else np.nan for c in drawn.T]
        )
    return [spread(mean, column, num_rows) for mean, column in zip(means, drawn.T, strict=True)]


def paired_difference(
    first: Statistic,
    second: Statistic,
    num_rows: int,
    groups: Sequence[Any] | None = None,
    num_resamples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """`first(rows) - second(rows)` with its interval; both see the same rows in every resample."""
    return bootstrap(
        lambda rows: first(rows) - second(rows), num_rows, groups, num_resamples, seed, confidence
    )


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of `scores` (N,) for binary `labels` (N,); NaN when only one class
    is there.

    The Mann-Whitney form on average ranks, equal to sklearn's `roc_auc_score` and fast enough to
    bootstrap.
    """
    positive = np.asarray(labels).astype(bool)
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if num_positive == 0 or num_negative == 0:
        return float("nan")
    ranks = stats.rankdata(scores)
    return float(
        (ranks[positive].sum() - num_positive * (num_positive + 1) / 2)
        / (num_positive * num_negative)
    )


def kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa of two binary readings (N,): agreement beyond what their marginals give by
    chance.

    NaN when both readings are the same constant (chance agreement is then certain).
    """
    a, b = np.asarray(first).astype(bool), np.asarray(second).astype(bool)
    p, q = a.mean(), b.mean()
    chance = p * q + (1 - p) * (1 - q)
    return float(((a == b).mean() - chance) / (1 - chance)) if chance < 1 else float("nan")


def f1(truth: np.ndarray, read: np.ndarray) -> float:
    """F1 of binary readings, micro-averaged over all entries; NaN when nothing is positive on
    either side."""
    truth, read = np.asarray(truth).astype(bool), np.asarray(read).astype(bool)
    found = truth.sum() + read.sum()
    return float(2 * (truth & read).sum() / found) if found else float("nan")


def macro_f1(truth: np.ndarray, read: np.ndarray) -> float:
    """Mean F1 of the columns (N, K) that the truth has at least once; NaN when there is none."""
    columns = [
        f1(t, r) for t, r in zip(np.asarray(truth).T, np.asarray(read).T, strict=True) if np.any(t)
    ]
    return float(np.mean(columns)) if columns else float("nan")


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson r over the rows where both have a value; NaN for fewer than three rows or a
    constant."""
    return _correlation(lambda a, b: float(np.corrcoef(a, b)[0, 1]), first, second)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman rho (Pearson r of average ranks), as `pearson`."""
    ranked = lambda a, b: float(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1])
    return _correlation(ranked, first, second)


def _correlation(function: Callable[..., float], first: np.ndarray, second: np.ndarray) -> float:
    first, second = np.asarray(first, float), np.asarray(second, float)
    both = ~(np.isnan(first) | np.isnan(second))
    first, second = first[both], second[both]
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return function(first, second)


def total_variation(first: Sequence[Any], second: Sequence[Any]) -> float:
    """Half the summed difference of two category distributions, in [0, 1]."""
    categories = {*first, *second}
    if not len(first) or not len(second):
        return float("nan")
    share = lambda values, c: sum(v == c for v in values) / len(values)
    return float(sum(abs(share(first, c) - share(second, c)) for c in categories) / 2)


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference of two empirical distribution functions, in [0, 1]; NaN when one is
    empty."""
    if not len(first) or not len(second):
        return float("nan")
    return float(stats.ks_2samp(first, second, method="asymp").statistic)


def column_marginals(
    real: Sequence[dict[str, Any]],
    generated: Sequence[dict[str, Any]],
    reference: Sequence[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Distance of each column's distribution, generated to real, beside its floor, other real rows
    (`reference`) to real: total variation for categories, Kolmogorov-Smirnov for numbers. Also mean
    and sd, or the shares."""
    figures = []
    for column in real[0] if real else ():
        known = [
            [row[column] for row in rows if row.get(column) is not None]
            for rows in (real, generated, reference)
        ]
        numeric = all(
            isinstance(v, (int, float)) and not isinstance(v, bool)
            for values in known
            for v in values
        )
        distance = kolmogorov_smirnov if numeric else total_variation
        figures.append(
            {
                "column": column,
                "distance": "Kolmogorov-Smirnov" if numeric else "total variation",
                "value": distance(known[1], known[0]),
                "real_vs_real": distance(known[2], known[0]),
                "real": _summary(known[0], numeric),
                "generated": _summary(known[1], numeric),
                "n": [len(values) for values in known],
            }
        )
    return figures


def _summary(values: Sequence[Any], numeric: bool) -> dict[str, float]:
    if numeric:
        return {"mean": float(np.mean(values)), "sd": float(np.std(values))} if values else {}
    return {str(c): sum(v == c for v in values) / len(values) for c in sorted(set(values), key=str)}
