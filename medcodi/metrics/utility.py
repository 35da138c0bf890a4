"""What are synthetic images worth as training data? Figures of classifiers that were trained from
scratch (`networks/from_scratch.py`) and are tested on real images (MedCoDi-M, 2.7).

Legend: N images, K findings, H W pixels, R seeds. Labels are (N, K) of 1, 0 and NaN (unknown:
masked in loss and test).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.metrics.statistics import Estimate, Statistic, auc, f1, resamples

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95)
AVERAGES = ("micro", "macro", "weighted")


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """`images` (N, H, W) float in [0, 1] and `labels` (N, K); ValueError where they do not belong
    together."""

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.labels.ndim != 2 or len(self.images) != len(self.labels):
            raise ValueError(
                f"expected labels (N, K) for {len(self.images)} images, got shape "
                f"{self.labels.shape}"
            )
        if not np.isin(self.labels[~np.isnan(self.labels)], (0, 1)).all():
            raise ValueError("labels are 1, 0 or NaN (unknown)")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> "LabelledImages":
        return LabelledImages(self.images[rows], self.labels[rows])

    def __add__(self, other: "LabelledImages") -> "LabelledImages":
        images = np.concatenate([self.images, other.images])
        return LabelledImages(images, np.concatenate([self.labels, other.labels]))


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Probabilities of the R networks on the test images, `scores` (R, N, K), and the `thresholds`
    (R, K) of a yes."""

    scores: np.ndarray
    thresholds: np.ndarray

    @property
    def decided(self) -> np.ndarray:
        return self.scores >= self.thresholds[:, None]


def best_threshold(truth: np.ndarray, scores: np.ndarray) -> float:
    """The score (N,) from which on a yes has the best F1, .5 when no image is known to be
    positive."""
    known = ~np.isnan(truth)
    truth, scores = truth[known] > 0, scores[known]
    if not truth.any():
        return 0.5
    order = np.argsort(-scores)
    hits = np.cumsum(truth[order])
    values = 2 * hits / (np.arange(1, len(hits) + 1) + truth.sum())
    return float(scores[order[values.argmax()]])


def class_prior(train_labels: np.ndarray, num_test: int) -> Prediction:
    """The baseline that looks at no image: each finding's prevalence as score; says yes always, a
    constant's best F1."""
    prior = np.nanmean(train_labels, axis=0)
    return Prediction(np.tile(prior, (1, num_test, 1)), np.zeros((1, train_labels.shape[1])))


def measurable(labels: np.ndarray, names: Sequence[str], least: int = 5) -> list[int]:
    """Findings with `least` known images or more of both classes. ValueError when there is none."""
    rows = [
        k
        for k in range(labels.shape[1])
        if min((labels[:, k] == 1).sum(), (labels[:, k] == 0).sum()) >= least
    ]
    if not rows:
        counts = {n: [int((labels[:, k] == v).sum()) for v in (1, 0)] for k, n in enumerate(names)}
        raise ValueError(
            f"no finding has {least} positive and {least} negative images; positives and "
            f"negatives: {counts}"
        )
    return rows


def scores_of(truth: np.ndarray, prediction: Prediction) -> dict[str, Statistic]:
    """`auroc micro`, ..., `f1 weighted` and `f1 K` of single findings (K their number) as functions
    of test rows, each the mean over the R networks, so that they can be bootstrapped and compared
    in pairs."""
    decided = prediction.decided

    def figure(kind: str, average: str) -> Statistic:
        outputs = prediction.scores if kind == "auroc" else decided
        return lambda rows: float(
            np.mean([_average(kind, average, truth[rows], run[rows]) for run in outputs])
        )

    figures = {
        f"{kind} {average}": figure(kind, average)
        for kind in ("auroc", "f1")
        for average in AVERAGES
    }
    for k in range(truth.shape[1]):
        for kind, outputs in (("auroc", prediction.scores), ("f1", decided)):
            figures[f"{kind} {k}"] = lambda rows, k=k, kind=kind, outputs=outputs: float(
                np.mean([_single(kind, truth[rows, k], run[rows, k]) for run in outputs])
            )
    return figures


def by_seed(truth: np.ndarray, prediction: Prediction, figure: str) -> list[float]:
    """A figure of `scores_of` for each of the R networks alone, on all test rows."""
    rows = np.arange(len(truth))
    runs = zip(prediction.scores[:, None], prediction.thresholds[:, None], strict=True)
    return [
        scores_of(truth, Prediction(scores, thresholds))[figure](rows)
        for scores, thresholds in runs
    ]


def _single(kind: str, truth: np.ndarray, output: np.ndarray) -> float:
    known = ~np.isnan(truth)
    return (auc if kind == "auroc" else f1)(truth[known] > 0, output[known])


def _average(kind: str, average: str, truth: np.ndarray, output: np.ndarray) -> float:
    """Over findings that the rows hold both ways; micro pools all known entries."""
    if average == "micro":
        return _single(kind, truth.ravel(), output.ravel())
    values = np.array([_single(kind, t, o) for t, o in zip(truth.T, output.T, strict=True)])
    weights = (truth == 1).sum(axis=0) if average == "weighted" else np.ones(len(values))
    there = ~np.isnan(values) & (weights > 0)
    return float(np.average(values[there], weights=weights[there])) if there.any() else float("nan")


@dataclasses.dataclass(frozen=True)
class Paired:
    """A difference with its interval, and `p` of a two-sided bootstrap test that it is zero."""

    difference: Estimate
    p: float


def paired_test(
    first: Statistic,
    second: Statistic,
    num_rows: int,
    groups: Sequence[Any] | None = None,
    num_resamples: int = 500,
    seed: int = 0,
) -> Paired:
    """`first` minus `second` on the same test rows, resampled by patient."""
    drawn = np.array(
        [first(r) - second(r) for r in resamples(num_rows, groups, num_resamples, seed)]
    )
    drawn = drawn[~np.isnan(drawn)]
    everything = np.arange(num_rows)
    value = float(first(everything) - second(everything))
    if 2 * len(drawn) < num_resamples:
        return Paired(Estimate(value, np.nan, np.nan, num_rows), np.nan)
    tail = 1 + min((drawn <= 0).sum(), (drawn >= 0).sum())
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Paired(
        Estimate(value, float(low), float(high), num_rows),
        float(min(1.0, 2 * tail / (len(drawn) + 1))),
    )


def balancing_rows(real: np.ndarray, pool: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which synthetic images (labels `pool` (M, K)) to add to real ones (labels (N, K)) so that
    positives of every finding come to the most frequent one's number, as far as the pool reaches.
    The rarest finding is served first."""
    counts = np.nansum(real, axis=0)
    if not counts.any():
        raise ValueError("no finding has a positive real image: nothing to balance")
    goal, left = counts.max(), list(np.random.default_rng(seed).permutation(len(pool)))
    added: list[int] = []
    while left:
        rarest = [k for k in np.argsort(counts, kind="stable") if counts[k] < goal]
        # An image of the rarest finding that brings the fewest of those that are frequent enough.
        chosen = next(
            (
                row
                for k in rarest
                for row in [_helpful(pool, left, k, counts >= goal)]
                if row is not None
            ),
            None,
        )
        if chosen is None:
            break
        left.remove(chosen)
        added.append(chosen)
        counts = counts + np.nan_to_num(pool[chosen])
    return np.array(added, int)


def _helpful(pool: np.ndarray, left: list[int], finding: int, enough: np.ndarray) -> int | None:
    candidates = [row for row in left if pool[row, finding] == 1]
    return min(candidates, key=lambda row: np.nansum(pool[row, enough])) if candidates else None


def scarcity_counts(
    share: float, num_real: int, num_synthetic: int, total: int | None = None
) -> tuple[int, int]:
    """How many real and synthetic images make a training set of which `share` is synthetic: with
    `total` the set's size stays and real images become scarce; without, all `num_real` stay and
    synthetic ones are added (MedCoDi-M).

    ValueError when there are not enough.
    """
    if not 0 <= share < 1:
        raise ValueError(f"a share of synthetic images lies in [0, 1), got {share}")
    real = num_real if total is None else round((1 - share) * total)
    synthetic = round(real * share / (1 - share)) if total is None else total - real
    if real > num_real or synthetic > num_synthetic:
        raise ValueError(
            f"{share:.0%} synthetic needs {real} real and {synthetic} synthetic images, got "
            f"{num_real} and {num_synthetic}"
        )
    return real, synthetic
