"""A small network trained on a data set's own labels: reads findings in images, and is the embedded
feature backbone.

Its distances are named after it, never FID. Legend: N images, H, W pixels, K findings.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from medcodi.metrics.images import as_float_images
from medcodi.metrics.oracle import ReaderNetwork, shifted, to_pixels
from medcodi.nn.weights import load_config, load_module, save_module

logger = logging.getLogger(__name__)

BATCH = 64


class ImageClassifier:
    """`fit` on real images, or `load`; `names` are the findings in order. Images are seen at 64 x
    64."""

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        self.names, self.seed = tuple(names), seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = ReaderNetwork(len(self.names)).eval()

    def fit(
        self, images: np.ndarray, labels: np.ndarray, num_steps: int = 250
    ) -> "ImageClassifier":
        """Train on images (N, H, W) in [0, 1] with labels (N, K), NaN masked (binary cross-entropy,
        AdamW, one cycle).

        ValueError when no finding has both classes: there is nothing to learn.
        """
        pixels = to_pixels(as_float_images(images, "training images"))
        labels = np.asarray(labels, np.float32)
        if labels.shape != (len(pixels), len(self.names)):
            raise ValueError(
                f"expected labels ({len(pixels)}, {len(self.names)}), got {labels.shape}"
            )
        both = [bool(np.any(column == 1) and np.any(column == 0)) for column in labels.T]
        if not any(both):
            names = ", ".join(self.names)
            raise ValueError(
                f"one class only: none of {names} has positive and negative labels among "
                f"{len(labels)} images"
            )
        known, targets = (
            torch.from_numpy(~np.isnan(labels)),
            torch.from_numpy(np.nan_to_num(labels)),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._train(pixels, targets, known.float(), num_steps)
        return self

    def _train(
        self, pixels: torch.Tensor, targets: torch.Tensor, known: torch.Tensor, num_steps: int
    ) -> None:
        network = self.network.train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 3e-3, total_steps=num_steps, pct_start=0.2
        )
        size, order = min(BATCH, len(pixels)), torch.empty(0, dtype=torch.long)
        for _ in range(num_steps):
            if len(order) < size:
                order = torch.randperm(len(pixels))
            rows, order = order[:size], order[size:]
            loss = F.binary_cross_entropy_with_logits(
                network(shifted(pixels[rows])), targets[rows], reduction="none"
            )
            loss = (loss * known[rows]).sum() / known[rows].sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()

    @torch.inference_mode()
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """(N, K) in [0, 1]."""
        parts = to_pixels(as_float_images(images)).split(512)
        return torch.cat([self.network(part) for part in parts]).double().sigmoid().numpy()

    @torch.inference_mode()
    def features(self, images: np.ndarray) -> np.ndarray:
        """(N, 128) of the layer before the outputs."""
        parts = to_pixels(as_float_images(images)).split(512)
        return torch.cat([self.network.features(part) for part in parts]).double().numpy()

    def save(self, folder: str | Path) -> None:
        save_module(self.network, folder, {"names": list(self.names), "seed": self.seed})

    @classmethod
    def load(cls, folder: str | Path) -> "ImageClassifier":
        config = load_config(folder)
        classifier = cls(config["names"], config["seed"])
        load_module(classifier.network, folder)
        return classifier
