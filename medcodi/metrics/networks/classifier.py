"""A small network trained on a data set's own labels: reads findings in images, and is the embedded
feature backbone.

Its distances are named after it, never FID. Legend: N images, H, W pixels, K findings.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from medcodi.metrics.networks.architectures import SmallNetwork, acquired, as_small_pixels
from medcodi.metrics.networks.fitting import fit, masked_loss, one_cycle
from medcodi.nn.weights import load_config, load_module, save_module


class ImageClassifier:
    """`fit` on real images, or `load`; `names` are the findings in order. Images are seen
    at 64 to 128 pixels."""

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        self.names, self.seed = tuple(names), seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SmallNetwork(len(self.names)).eval()

    def fit(
        self, images: np.ndarray, labels: np.ndarray, num_steps: int = 250
    ) -> "ImageClassifier":
        """Train on images (N, H, W) in [0, 1] with labels (N, K), NaN masked (binary cross-entropy,
        AdamW, one cycle).

        ValueError when no finding has both classes: there is nothing to learn.
        """
        pixels = as_small_pixels(images, "training images")
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

            def loss(rows: torch.Tensor) -> torch.Tensor:
                return masked_loss(self.network(acquired(pixels[rows])), targets[rows], known[rows])

            size = min(64, len(pixels))
            fit(self.network, loss, len(pixels), None, one_cycle(num_steps, batch_size=size))
        return self

    @torch.inference_mode()
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """(N, K) in [0, 1]."""
        parts = as_small_pixels(images).split(512)
        return torch.cat([self.network(part) for part in parts]).double().sigmoid().numpy()

    def features(self, images: np.ndarray) -> np.ndarray:
        """(N, 128) of the layer before the outputs."""
        return self.network.features_of(images)

    def save(self, folder: str | Path) -> None:
        save_module(self.network, folder, {"names": list(self.names), "seed": self.seed})

    @classmethod
    def load(cls, folder: str | Path) -> "ImageClassifier":
        config = load_config(folder)
        classifier = cls(config["names"], config["seed"])
        load_module(classifier.network, folder)
        return classifier
