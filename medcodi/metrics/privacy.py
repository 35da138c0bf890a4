"""Does a synthetic set give away its training records? Measurements only, each against records that
training never saw.

Legend: S synthetic, T training and H holdout records, all real ones from one population. Distances
are matrices (S, T) and so on, of any kind (`image_distances`, `text_distances`, `row_distances`,
`joint_distances`). A record of the holdout is what a synthetic one would be at best: as near to
training as a stranger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from medcodi.data.table import TableSchema
from medcodi.metrics.statistics import Estimate, auc, bootstrap, share_of

MIN_RECORDS = 20


def row_distances(
    queries: Sequence[dict], references: Sequence[dict], schema: TableSchema
) -> np.ndarray:
    """Gower's distance of rows, (Q, R) in [0, 1]: mean over the columns known on both sides of the
    number's difference over its range (the schema's, at most 1) or the category's mismatch. Two
    rows without a common column are 1 apart."""
    q, r = schema.raw(list(queries)), schema.raw(list(references))
    total, known = np.zeros((len(q), len(r))), np.zeros((len(q), len(r)))
    for j, column in enumerate(schema.columns):
        difference = np.abs(q[:, j, None] - r[None, :, j])
        both = ~np.isnan(difference)
        if column.is_discrete:
            difference = difference > 0
        elif column.minimum is not None and column.maximum > column.minimum:
            difference = np.minimum(difference / (column.maximum - column.minimum), 1)
        else:
            difference = np.minimum(
                difference / (6 * column.std), 1
            )  # six sd stand for a range that nobody stated
        total += np.where(both, difference, 0)
        known += both
    return np.where(known > 0, total / np.maximum(known, 1), 1.0)


def joint_distances(*distances: np.ndarray, scales: Sequence[float]) -> np.ndarray:
    """Mean of the modalities' distances, each over its scale (the median distance of holdout to
    training, say)."""
    if len(distances) != len(scales) or not distances:
        raise ValueError(
            f"expected one scale for each of {len(distances)} distances, got {len(scales)}"
        )
    return sum(d / max(s, 1e-12) for d, s in zip(distances, scales, strict=True)) / len(distances)


def closest_record(to_train: np.ndarray, to_holdout: np.ndarray) -> dict[str, Any]:
    """Distance to closest record with holdout control, from (S, T) and (S, H).

    `share` of synthetic records whose nearest real record is one of training. Were none memorised,
    records of both sets would be drawn alike and the `expected` share is T / (T + H); a tie counts
    by its parts. `p` is that of a one-sided binomial test. `ratio` is the median over S of nearest
    in training over nearest in an equal number of holdout records, below 1 where training is
    nearer.
    """
    to_train, to_holdout = _distances(to_train, "to_train"), _distances(to_holdout, "to_holdout")
    if len(to_train) != len(to_holdout):
        raise ValueError(
            f"expected the same synthetic records, got {len(to_train)} and {len(to_holdout)} rows"
        )
    least = np.minimum(to_train.min(axis=1), to_holdout.min(axis=1))[:, None]
    in_train, in_holdout = (to_train <= least).sum(axis=1), (to_holdout <= least).sum(axis=1)
    from_train = in_train / (in_train + in_holdout)
    expected = to_train.shape[1] / (to_train.shape[1] + to_holdout.shape[1])
    test = stats.binomtest(
        round(from_train.sum()), len(from_train), expected, alternative="greater"
    )
    return {
        "share": share_of(from_train),
        "expected": expected,
        "p": float(test.pvalue),
        "ratio": _median_ratio(to_train, to_holdout),
    }


def _median_ratio(to_train: np.ndarray, to_holdout: np.ndarray, seed: int = 0) -> Estimate:
    """Nearest of equally many records of both sets, drawn from the larger; 0 / 0 counts as 1."""
    count = min(to_train.shape[1], to_holdout.shape[1])
    rng = np.random.default_rng(seed)
    nearest = [
        d[:, rng.permutation(d.shape[1])[:count]].min(axis=1) for d in (to_train, to_holdout)
    ]
    ratios = _ratio(*nearest)
    return bootstrap(
        lambda rows: float(np.median(ratios[rows])), len(ratios), seed=seed, num_resamples=200
    )


def _ratio(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(
        second > 0, first / np.where(second > 0, second, 1), np.where(first > 0, np.inf, 1.0)
    )


def neighbour_ratios(to_train: np.ndarray, num_neighbours: int = 5) -> np.ndarray:
    """Nearest distance over the mean of the next `num_neighbours` (N, T) -> (N,): near 0 for a copy
    of one record, 1 where several training records are equally near, as for a sentence that half of
    all reports share."""
    to_train = _distances(to_train, "to_train")
    count = min(num_neighbours + 1, to_train.shape[1])
    if count < 2:
        raise ValueError(
            f"a neighbour ratio needs two training records or more, got {to_train.shape[1]}"
        )
    near = np.sort(np.partition(np.maximum(to_train, 0), count - 1, axis=1)[:, :count], axis=1)
    return _ratio(near[:, 0], near[:, 1:].mean(axis=1))


@dataclass(frozen=True)
class Memorised:
    """`flagged` (S,) bool, their `share` with Wilson's interval, the `threshold`, the share
    `expected` by its making, and `p`, one-sided: is the share above what the holdout makes likely?
    """

    flagged: np.ndarray
    share: Estimate
    threshold: float
    expected: float
    p: float


def memorised(to_train: np.ndarray, holdout_to_train: np.ndarray, level: float = 0.02) -> Memorised:
    """Which synthetic records copy a training record, from (S, T) and (H, T)?

    Those whose nearest-neighbour ratio is at most the threshold, the `level` quantile of the
    holdout's, which copies nobody. Where reports repeat word for word that quantile may be 0 and
    more than `level` of the holdout lie there: `expected` is its true share. ValueError when the
    holdout is too small to know the quantile (level times H below 1).
    """
    control = neighbour_ratios(holdout_to_train)
    if level * len(control) < 1:
        raise ValueError(
            f"a threshold at {level:.0%} needs {int(np.ceil(1 / level))} holdout records, got "
            f"{len(control)}"
        )
    threshold = float(np.quantile(control, level, method="lower"))
    flagged = neighbour_ratios(to_train) <= threshold
    # The threshold is itself an estimate: compare with the holdout's share by Fisher's test, not
    # with `level` exactly.
    counts = [int(flagged.sum()), int((control <= threshold).sum())]
    table = [[counts[0], len(flagged) - counts[0]], [counts[1], len(control) - counts[1]]]
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    return Memorised(flagged, share_of(flagged), threshold, counts[1] / len(control), p)


MIN_ATTEMPTS = 50


def verdict(share: Estimate, expected: float, found: Estimate) -> str:
    """What the share of flagged records says, in words. An attack that cannot win is no pass: with
    fewer than 50 records, or where planted copies are `found` no more often than `expected` by
    chance, nothing can be said (Giomi et al. 2023)."""
    if share.n < MIN_ATTEMPTS:
        return f"too few attempts: {share.n}"
    if not found.low > expected:
        return f"too few successes: {found.value:.0%} of {found.n} planted copies are found"
    return "copies" if share.low > expected else "no more than by chance"


def membership(
    members: np.ndarray, others: np.ndarray, seed: int = 0, groups: Sequence[Any] | None = None
) -> Estimate:
    """AUC, with its interval, of telling members of the training set (T,) from others (H,) by a
    score that is higher for members: minus the distance to the closest synthetic record, minus the
    denoiser's loss. .5 is chance. `groups` (T + H) are the patients of the interval."""
    for name, scores in (("members", members), ("others", others)):
        if len(scores) < MIN_RECORDS or not np.isfinite(scores).all():
            raise ValueError(
                f"membership needs {MIN_RECORDS} finite scores or more for {name}, got "
                f"{len(scores)}"
            )
    scores = np.concatenate([members, others])
    labels = np.repeat([1, 0], [len(members), len(others)])
    return bootstrap(lambda rows: auc(labels[rows], scores[rows]), len(labels), groups, seed=seed)


def linkage(to_train: Sequence[np.ndarray], num_nearest: int = 1) -> Estimate:
    """Share of joint records whose modalities point at ONE training record: it is among the
    `num_nearest` nearest in two modalities or more. `to_train` holds one (N, T) per modality, rows
    being the same records."""
    if len(to_train) < 2:
        raise ValueError(f"linkage joins two modalities or more, got {len(to_train)}")
    if len({d.shape for d in to_train}) > 1:
        raise ValueError(f"linkage needs distances of one shape, got {[d.shape for d in to_train]}")
    count = min(num_nearest, to_train[0].shape[1])
    votes = np.zeros(to_train[0].shape, int)
    for distances in to_train:
        nearest = np.argsort(_distances(distances, "to_train"), axis=1, kind="stable")[:, :count]
        votes[np.arange(len(votes))[:, None], nearest] += 1
    return share_of(votes.max(axis=1) > 1)


def plant(
    num_synthetic: int, num_train: int, share: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The positive control: which synthetic records (P,) are replaced by which training records
    (P,), each once.

    ValueError when `share` of the synthetic set is not one record at least, or more than training
    has."""
    count = round(share * num_synthetic)
    if not 1 <= count <= min(num_synthetic, num_train):
        raise ValueError(
            f"cannot plant {share:.0%} of {num_synthetic} records with {num_train} training "
            f"records: that is {count}"
        )
    rng = np.random.default_rng(seed)
    return rng.permutation(num_synthetic)[:count], rng.permutation(num_train)[:count]


def perturbed_images(images: np.ndarray, sd: float = 0.02, seed: int = 0) -> np.ndarray:
    """Images (N, H, W) in [0, 1] with pixel noise and a gain of a few per cent: a copy that is no
    longer exact."""
    rng = np.random.default_rng(seed)
    gain = rng.uniform(0.97, 1.03, (len(images), 1, 1))
    noisy = np.asarray(images, np.float64) * gain + rng.normal(0, sd, np.shape(images))
    return np.clip(noisy, 0, 1).astype(np.float32)


def perturbed_texts(texts: Sequence[str], seed: int = 0) -> list[str]:
    """Each text without one of its words."""
    rng, changed = np.random.default_rng(seed), []
    for text in texts:
        words = text.split()
        gone = int(rng.integers(len(words))) if len(words) > 1 else -1
        changed.append(" ".join(word for i, word in enumerate(words) if i != gone))
    return changed


def perturbed_rows(rows: Sequence[dict], schema: TableSchema, seed: int = 0) -> list[dict]:
    """Each row with its numbers moved by 2 % of the column's sd, clipped to its range; whole
    numbers stay whole."""
    rng = np.random.default_rng(seed)
    changed = []
    for row in rows:
        row = dict(row)
        for column in schema.columns:
            if not column.is_discrete and row.get(column.name) is not None:
                value = float(row[column.name]) + rng.normal(0, 0.02 * column.std)
                if column.minimum is not None:
                    value = float(np.clip(value, column.minimum, column.maximum))
                row[column.name] = float(round(value)) if column.type == "integer" else value
        changed.append(row)
    return changed


def _distances(matrix: np.ndarray, name: str) -> np.ndarray:
    matrix = np.asarray(matrix, float)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(
            f"{name} must be a matrix with a row and a column at least, got shape {matrix.shape}"
        )
    if np.isnan(matrix).any():
        raise ValueError(f"{name} has NaN distances: check the images for NaN")
    return matrix
