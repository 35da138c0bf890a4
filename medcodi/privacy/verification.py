"""Are two images of one patient? A siamese network (Packhaeuser et al. 2022).

    p(a, b) = sigmoid(c - w |f(a) - f(b)|),   w >= 0,   |f| = 1

Weights that cannot be negative make an exact copy the most probable match of all. f starts as the
retrieval network.

Legend: N images, P pairs, S strangers of each image, D feature width.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medcodi.metrics.networks.architectures import as_pixels, build_network
from medcodi.metrics.networks.fitting import FitSettings, fit, outputs_of
from medcodi.metrics.networks.verifier import EMBED_DIM, acquired_again
from medcodi.nn.weights import load_module, save_module

FEATURES = EMBED_DIM


class SiameseNetwork(nn.Module):
    """`trunk` is f before it is normalised; w = softplus(`weight`)."""

    def __init__(self, network: str) -> None:
        super().__init__()
        self.trunk = build_network(network, FEATURES)
        self.weight = nn.Parameter(torch.zeros(FEATURES))
        self.bias = nn.Parameter(torch.tensor([4.0]))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 1, H, W) -> f (N, D)."""
        return F.normalize(self.trunk(pixels), dim=1)

    def compare(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Features (..., D) of both -> logits (...)."""
        return self.bias - (F.softplus(self.weight) * (first - second).abs()).sum(dim=-1)


class VerificationNetwork:
    """`fit` on pairs, or `load`."""

    def __init__(self, settings: FitSettings, seed: int = 0) -> None:
        self.settings, self.seed = settings, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SiameseNetwork(settings.network).to(settings.device).eval()

    def fit(
        self, images: np.ndarray, pairs: np.ndarray, strangers: np.ndarray, start: nn.Module
    ) -> "VerificationNetwork":
        """Train on `images` (N, H, W) with `pairs` (P, 2) of one patient and, for the first image
        of each pair, `strangers` (P, S): images of other patients, among them the most alike,
        because these are what a filter compares with. The trunk starts from `start`."""
        self.network.trunk.load_state_dict(start.state_dict())
        pixels, device = as_pixels(images, "training images"), self.settings.device
        positive, negative = torch.from_numpy(pairs), torch.from_numpy(strangers)

        def features(rows: torch.Tensor) -> torch.Tensor:
            return self.network(acquired_again(pixels[rows]).to(device))

        def loss(rows: torch.Tensor) -> torch.Tensor:
            drawn = torch.randint(negative.shape[1], (len(rows),))
            a, b = features(positive[rows, 0]), features(positive[rows, 1])
            c = features(negative[rows, drawn])
            same, other = self.network.compare(a, b), self.network.compare(a, c)
            return (F.softplus(-same) + F.softplus(other)).mean() / 2

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            fit(self.network, loss, len(pairs), None, self.settings)
        return self

    def features(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W) -> f (N, D)."""
        pixels = as_pixels(images)
        return outputs_of(self.network, pixels, device=self.settings.device).numpy()

    @torch.inference_mode()
    def probabilities(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Features (..., D) of both -> probability (...) that they are of one patient."""
        device = self.settings.device
        parts = (torch.from_numpy(np.ascontiguousarray(x)).to(device) for x in (first, second))
        return self.network.eval().compare(*parts).sigmoid().cpu().numpy()

    def save(self, folder: str | Path) -> None:
        save_module(self.network, folder, {"network": self.settings.network, "seed": self.seed})

    def load(self, folder: str | Path) -> "VerificationNetwork":
        load_module(self.network, folder)
        return self
