"""Can a network tell that two images are of one patient? The verification score of Packhaeuser et
al., self-trained.

Legend: N images, P pairs, H W pixels, D embedding width. No published verification network can be
shipped; this one is trained by the suite on the training split. Where patients have several images,
pairs are two of one patient; else both sides of a pair are one image under two simulated
acquisitions (shift, gain, contrast, noise), and the figures say so.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from medcodi.metrics.networks.architectures import as_pixels, build_network, shifted
from medcodi.metrics.networks.fitting import FitSettings, fit, outputs_of
from medcodi.metrics.statistics import auc

EMBED_DIM, TEMPERATURE = 64, 0.1


def patient_pairs(patients: Sequence[Any], seed: int = 0) -> np.ndarray:
    """(P, 2) rows of one patient each: one pair for every patient with two images or more; (0, 2)
    when there is none."""
    rows = defaultdict(list)
    for row, patient in enumerate(patients):
        rows[patient].append(row)
    rng = np.random.default_rng(seed)
    pairs = [rng.permutation(members)[:2] for members in rows.values() if len(members) > 1]
    return np.array(pairs, int).reshape(-1, 2)


def acquisitions(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """(N, H, W) in [0, 1] -> another acquisition of each: shift of up to two pixels, gain,
    contrast, noise."""
    pixels = as_pixels(images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ((acquired_again(pixels) + 1) / 2).clamp(0, 1)[:, 0].numpy()


def acquired_again(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels (N, 1, H, W) in [-1, 1] under another shift, gain, contrast and noise."""
    unit = (shifted(pixels, 2) + 1) / 2
    gamma = 1 + 0.3 * (torch.rand(len(unit), 1, 1, 1) - 0.5)
    gain = 1 + 0.2 * (torch.rand(len(unit), 1, 1, 1) - 0.5)
    return 2 * (gain * unit.clamp(1e-4, 1) ** gamma + 0.02 * torch.randn(unit.shape)) - 1


class Verifier:
    """Embeds images of one view so that those of one patient are near: contrastive (InfoNCE) over
    pairs."""

    def __init__(self, settings: FitSettings, seed: int = 0) -> None:
        self.settings, self.seed = settings, seed
        self.network: torch.nn.Module | None = None

    def build(self) -> torch.nn.Module:
        """The network with its first weights, for `fit` and for loading."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = build_network(self.settings.network, EMBED_DIM)
        self.network = network.to(self.settings.device)
        return self.network

    def fit(self, images: np.ndarray, pairs: np.ndarray | None = None) -> "Verifier":
        """Train on `images` (N, H, W); `pairs` (P, 2) rows of one patient, by default every image
        with itself."""
        pixels = as_pixels(images)
        pairs = (
            torch.arange(len(pixels)).repeat(2, 1).T if pairs is None else torch.from_numpy(pairs)
        )
        device = self.settings.device
        network = self.build()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)

            def loss(rows: torch.Tensor) -> torch.Tensor:
                sides = [acquired_again(pixels[pairs[rows, side]]).to(device) for side in (0, 1)]
                first, second = (F.normalize(network(side), dim=1) for side in sides)  # each B, D
                logits = first @ second.T / TEMPERATURE
                targets = torch.arange(len(rows), device=device)
                return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2

            fit(network, loss, len(pairs), None, self.settings)
        return self

    def embed(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W) -> unit embeddings (N, D)."""
        if self.network is None:
            raise ValueError("this Verifier is not trained: call fit first")
        return F.normalize(
            outputs_of(self.network, as_pixels(images), device=self.settings.device), dim=1
        ).numpy()

    def verify(self, first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray | float]:
        """How well held-out pairs (P images each) are verified: `same` and `different` scores (P,)
        and their `auc`."""
        a, b = self.embed(first), self.embed(second)
        order = np.roll(np.arange(len(a)), 1)  # every image meets a stranger
        same, different = (a * b).sum(axis=1), (a * b[order]).sum(axis=1)
        labels = np.repeat([1, 0], len(a))
        return {
            "same": same,
            "different": different,
            "auc": auc(labels, np.concatenate([same, different])),
        }


def top_scores(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Verification score (cosine) of each query (N, D) with its best match among the references (T,
    D): (N,)."""
    return (queries @ references.T).max(axis=1)
