"""Images with their table rows as one record: the outcome network at mixing ratios, and the rank of
a row among others.

After Kikuchi et al. (J Imaging Inform Med 2024), whose architectures stand in a supplement that is
not at hand: ours are `fitting.NETWORKS` for the image and one hidden layer for the row. Legend: N
records, D features of a row.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from medcodi.data.table import TableSchema
from medcodi.metrics.fitting import FitSettings, as_pixels, build_network, fit, outputs_of, shifted
from medcodi.metrics.statistics import Estimate

RATIOS = (1.0, 0.75, 0.5, 0.25, 0.0)  # shares of real records
IMAGE_WIDTH, ROW_WIDTH, CODE_DIM = 32, 32, 18  # 18: the width of the paper's latent code
TEMPERATURE, VALIDATION_SHARE = 0.2, 0.25  # the paper splits 800 : 272 records


def row_features(
    rows: Sequence[dict], schema: TableSchema, without: Sequence[str] = ()
) -> np.ndarray:
    """Rows -> (N, D): numbers as the schema encodes them (0 where missing) and one-hot categories,
    each column with a state "missing". `without` names columns to leave out, such as the outcome.
    ValueError for one that is not there."""
    if unknown := sorted(set(without) - set(schema.names)):
        raise ValueError(f"no such column {unknown}; the table has {schema.names}")
    encoded, parts = schema.encode(list(rows)).numpy(), []
    for j, column in enumerate(schema.columns):
        if column.name in without:
            continue
        missing = np.isnan(encoded[:, j])
        known = np.where(missing, 0, encoded[:, j])
        if column.is_discrete:
            parts.append((known[:, None] == np.arange(len(column.categories))) & ~missing[:, None])
        else:
            parts.append(known[:, None])
        parts.append(missing[:, None])
    return np.concatenate(parts, axis=1, dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class Records:
    """`images` (N, H, W) float in [0, 1], `rows` (N, D) features and `outcome` (N,) bool."""

    images: np.ndarray
    rows: np.ndarray
    outcome: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.rows) == len(self.outcome):
            lengths = len(self.images), len(self.rows), len(self.outcome)
            raise ValueError(f"a record is an image, a row and an outcome; got {lengths} of them")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: np.ndarray) -> "Records":
        return Records(self.images[chosen], self.rows[chosen], self.outcome[chosen])

    def __add__(self, other: "Records") -> "Records":
        parts = (
            np.concatenate([getattr(r, f.name) for r in (self, other)])
            for f in dataclasses.fields(self)
        )
        return Records(*parts)


def replaced(real: Records, synthetic: Records, share_real: float, seed: int = 0) -> Records:
    """As many records as the real set, of which `share_real` are real, others replaced by synthetic
    ones at random.

    ValueError when there are too few synthetic records."""
    if not 0 <= share_real <= 1:
        raise ValueError(f"the share of real records lies in [0, 1], got {share_real}")
    kept = round(share_real * len(real))
    if len(synthetic) < len(real) - kept:
        raise ValueError(f"{len(real) - kept} synthetic records needed, there are {len(synthetic)}")
    rng = np.random.default_rng(seed)
    order, others = rng.permutation(len(real)), rng.permutation(len(synthetic))
    return real.take(order[:kept]) + synthetic.take(others[: len(real) - kept])


class OutcomeNetwork(nn.Module):
    """(N, 1, H, W) and (N, D) -> (N, 1) logit of the outcome."""

    def __init__(self, network: str, num_features: int) -> None:
        super().__init__()
        self.image = build_network(network, IMAGE_WIDTH)
        self.row = nn.Sequential(nn.Linear(num_features, ROW_WIDTH), nn.ReLU())
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.3), nn.Linear(IMAGE_WIDTH + ROW_WIDTH, 1))

    def forward(self, images: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.image(images), self.row(rows)], dim=1))


def predict_outcome(
    train: Records, test: Records, settings: FitSettings, seeds: Sequence[int] = (0,)
) -> np.ndarray:
    """Mean logit (N,) over seeds of outcome networks trained on `train`, a quarter of which (by
    outcome alike, other ones for every seed) stops the training early. ValueError when either
    outcome has fewer than two records."""
    counts = [int((train.outcome == value).sum()) for value in (True, False)]
    if min(counts) < 2:
        raise ValueError(
            f"training needs two records or more of each outcome, got {counts[0]} with it, "
            f"{counts[1]} without"
        )
    return np.mean([_predict_once(train, test, settings, seed) for seed in seeds], axis=0)


def _predict_once(train: Records, test: Records, settings: FitSettings, seed: int) -> np.ndarray:
    pixels, rows = as_pixels(train.images, "training images"), torch.from_numpy(train.rows)
    target, held = torch.from_numpy(train.outcome).float(), _stratified(train.outcome, seed)
    used, device = np.setdiff1d(np.arange(len(train)), held), settings.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = OutcomeNetwork(settings.network, rows.shape[1]).to(device)

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            at = torch.from_numpy(used)[chosen]
            out = network(shifted(pixels[at], settings.max_shift).to(device), rows[at].to(device))
            return F.binary_cross_entropy_with_logits(out[:, 0].cpu(), target[at])

        def validate() -> float:
            out = outputs_of(network, pixels[held], rows[held], device=device)
            return float(F.binary_cross_entropy_with_logits(out[:, 0], target[held]))

        fit(network, loss, len(used), validate, settings)
        shown = as_pixels(test.images, "test images"), torch.from_numpy(test.rows)
        return outputs_of(network, *shown, device=device)[:, 0].double().numpy()


def _stratified(outcome: np.ndarray, seed: int) -> np.ndarray:
    """A quarter of the records of each outcome, one at least."""
    rng = np.random.default_rng(seed)
    groups = [rng.permutation(np.flatnonzero(outcome == value)) for value in (True, False)]
    return np.sort(np.concatenate([g[: max(int(VALIDATION_SHARE * len(g)), 1)] for g in groups]))


@dataclasses.dataclass(frozen=True)
class DeLong:
    """Two correlated AUCs, their difference (first minus second) with a 95 % interval, and the
    two-sided `p`."""

    first: Estimate
    second: Estimate
    difference: Estimate
    p: float


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> DeLong:
    """DeLong's test of two scores (N,) on the same binary `labels` (N,) (DeLong, DeLong,
    Clarke-Pearson 1988), with the midrank form of the structural components (Sun and Xu 2014).

    ValueError for NaN and when a class has fewer than two rows (its variance is then unknown).
    """
    positive = np.asarray(labels).astype(bool)
    scores = np.stack([np.asarray(first, float), np.asarray(second, float)])
    if scores.shape != (2, len(positive)) or np.isnan(scores).any():
        raise ValueError(
            f"expected two scores without NaN for each of {len(positive)} labels, got shape "
            f"{scores.shape}"
        )
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < 2:
        raise ValueError(
            f"DeLong's test needs two rows or more of each class, got {m} positive and {n} negative"
        )
    # V10_i = P(X_i > Y), V01_j = P(X > Y_j), ties one half; midranks count both without the m x n
    # comparisons.
    whole = stats.rankdata(scores, axis=1)
    v10 = (whole[:, positive] - stats.rankdata(scores[:, positive], axis=1)) / n  # 2, m
    v01 = 1 - (whole[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)) / m  # 2, n
    values = v10.mean(axis=1)
    covariance = np.cov(v10) / m + np.cov(v01) / n  # 2, 2
    variance = max(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1], 0.0)
    difference, sd = values[0] - values[1], np.sqrt(variance)
    p = 2 * stats.norm.sf(abs(difference) / sd) if sd > 0 else float(difference == 0)
    return DeLong(
        _normal(values[0], np.sqrt(covariance[0, 0]), len(positive), (0, 1)),
        _normal(values[1], np.sqrt(covariance[1, 1]), len(positive), (0, 1)),
        _normal(difference, sd, len(positive), (-1, 1)),
        float(p),
    )


def _normal(value: float, sd: float, n: int, bounds: tuple[float, float]) -> Estimate:
    low, high = np.clip([value - 1.959964 * sd, value + 1.959964 * sd], *bounds)
    return Estimate(float(value), float(low), float(high), n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: sorted p times the number of hypotheses left, made monotone, at
    most 1."""
    p = np.asarray(p_values, float)
    if np.isnan(p).any() or (p < 0).any() or (p > 1).any():
        raise ValueError(f"p-values lie in [0, 1], got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted.tolist()


class PairEncoders:
    """Image and row into one space, trained so that a record's two sides are near (InfoNCE in both
    directions)."""

    def __init__(self, settings: FitSettings, seed: int = 0) -> None:
        self.settings, self.seed = settings, seed
        self.image: nn.Module | None = None
        self.row: nn.Module | None = None

    def fit(self, images: np.ndarray, rows: np.ndarray) -> "PairEncoders":
        """`images` (N, H, W) and `rows` (N, D); a quarter of the pairs stops the training early."""
        if len(images) != len(rows) or len(images) < 20:
            raise ValueError(
                f"expected 20 pairs or more, got {len(images)} images and {len(rows)} rows"
            )
        pixels, features, device = as_pixels(images), torch.from_numpy(rows), self.settings.device
        order = torch.from_numpy(np.random.default_rng(self.seed).permutation(len(images)))
        held, used = order.split([len(order) // 4, len(order) - len(order) // 4])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.image = build_network(self.settings.network, CODE_DIM).to(device)
            hidden = (
                nn.Linear(rows.shape[1], 2 * ROW_WIDTH),
                nn.ReLU(),
                nn.Dropout(0.2),
                nn.Linear(2 * ROW_WIDTH, CODE_DIM),
            )
            self.row = nn.Sequential(*hidden).to(device)

            def contrast(at: torch.Tensor, moved: int) -> torch.Tensor:
                a = F.normalize(self.image(shifted(pixels[at], moved).to(device)), dim=1)
                logits = a @ F.normalize(self.row(features[at].to(device)), dim=1).T / TEMPERATURE
                targets = torch.arange(len(at), device=device)
                return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2

            both = nn.ModuleList([self.image, self.row])
            fit(
                both,
                lambda chosen: contrast(used[chosen], self.settings.max_shift),
                len(used),
                lambda: float(contrast(held, 0)),
                self.settings,
            )
        return self

    def ranks(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Rank (N,) of each image's own row among all N rows by cosine, 1 the best; chance has the
        median (N + 1) / 2."""
        if self.image is None or self.row is None:
            raise ValueError("these PairEncoders are not trained: call fit first")
        a = F.normalize(
            outputs_of(self.image, as_pixels(images), device=self.settings.device), dim=1
        ).numpy()
        b = F.normalize(
            outputs_of(self.row, torch.from_numpy(rows), device=self.settings.device), dim=1
        ).numpy()
        similarity = a @ b.T
        own = np.diag(similarity)[:, None]
        # A row that occurs twice is as near as the own one: half of the ties stand before it.
        return 1 + (similarity > own).sum(axis=1) + ((similarity == own).sum(axis=1) - 1) / 2


def rank_summary(ranks: np.ndarray) -> dict[str, Any]:
    """Median and quartiles, as the paper prints them."""
    low, median, high = np.quantile(ranks, [0.25, 0.5, 0.75])
    return {"median": float(median), "low": float(low), "high": float(high), "n": len(ranks)}


def wilcoxon(first: np.ndarray, second: np.ndarray) -> float:
    """p of Wilcoxon's signed-rank test of paired ranks (N,), two-sided; 1 when all are equal."""
    if len(first) != len(second) or len(first) < 10:
        raise ValueError(f"expected 10 pairs of ranks or more, got {len(first)} and {len(second)}")
    return 1.0 if np.array_equal(first, second) else float(stats.wilcoxon(first, second).pvalue)
