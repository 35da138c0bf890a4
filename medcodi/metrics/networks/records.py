"""Networks on records of image and row: the outcome, and which row belongs to an image.

After Kikuchi et al. (J Imaging Inform Med 2024), whose architectures stand in a supplement that is
not at hand: ours are `architectures.NETWORKS` for the image and one hidden layer for the row.
Legend: N records, D features of a row.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medcodi.metrics.hybrid import Records
from medcodi.metrics.networks.architectures import as_pixels, build_network, shifted
from medcodi.metrics.networks.fitting import FitSettings, fit, outputs_of

IMAGE_WIDTH, ROW_WIDTH, CODE_DIM = 32, 32, 18  # 18: the width of the paper's latent code
TEMPERATURE, VALIDATION_SHARE = 0.2, 0.25  # the paper splits 800 : 272 records


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
