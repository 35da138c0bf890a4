"""Image reader of the chest phantom: measures what a generated image shows, independently of the
model's encoders.

Legend: N images, H, W grid, K outputs. A small CNN for one view, trained on real phantom images
with known truth.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from medcodi.metrics.networks.architectures import SmallNetwork, acquired, as_small_pixels
from medcodi.metrics.networks.fitting import fit, one_cycle, outputs_of
from medcodi.nn.weights import load_config, load_module, save_module

SITES = ("right_upper", "right_middle", "right_lower", "left_upper", "left_lower", "retrocardiac")
SITE_KEYS = tuple(f"consolidation_{site}" for site in SITES)
LABELS = (
    *("effusion_left", "effusion_right", "cardiomegaly", "consolidation", *SITE_KEYS),
    *(
        "edema",
        "pneumothorax",
        "pneumothorax_left",
        "pneumothorax_right",
        "atelectasis",
        "nodule",
        "pacemaker",
    ),
)
_CTR_MEAN, _CTR_STD = 0.47, 0.06


def label_table(truths: list[dict[str, Any]]) -> np.ndarray:
    """Truth dicts of the phantom -> binary labels (N, len(LABELS)) float32 in the order of
    `LABELS`."""
    return np.array([[_label(truth, key) for key in LABELS] for truth in truths], np.float32)


def _label(truth: dict[str, Any], key: str) -> bool:
    if key in SITE_KEYS:
        return truth["consolidation"] == key.removeprefix("consolidation_")
    if key in ("pneumothorax_left", "pneumothorax_right"):
        return truth["pneumothorax"] == key.removeprefix("pneumothorax_")
    value = truth[key]
    return value != "none" if isinstance(value, str) else value > 0


class PhantomReader:
    """Reads findings from phantom images of one view; `fit` it, or `load` a saved one."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.view: str | None = None
        self.network: SmallNetwork | None = None

    def fit(
        self,
        images: np.ndarray,
        truths: list[dict[str, Any]],
        view: str,
        num_epochs: int = 10,
        batch_size: int = 64,
    ) -> "PhantomReader":
        """Train on `images` (N, H, W) float32 in [0, 1] with their `truths`; `view` is a name, kept
        with the weights.

        The same seed and images give the same reader on the same machine.
        """
        if len(images) != len(truths):
            raise ValueError(
                f"expected one truth for each image, got {len(images)} images and {len(truths)} "
                "truths"
            )
        self.view = view
        labels = torch.from_numpy(label_table(truths))
        ratio = torch.tensor(
            [(truth["ctr"] - _CTR_MEAN) / _CTR_STD for truth in truths], dtype=torch.float32
        )
        pixels = as_small_pixels(images, "training images")
        num_steps = num_epochs * max(len(pixels) // batch_size, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = network = SmallNetwork(len(LABELS) + 1)

            def loss(rows: torch.Tensor) -> torch.Tensor:
                outputs = network(acquired(pixels[rows]))
                findings = F.binary_cross_entropy_with_logits(outputs[:, :-1], labels[rows])
                return findings + 0.3 * F.mse_loss(outputs[:, -1], ratio[rows])

            fit(network, loss, len(pixels), None, one_cycle(num_steps, batch_size=batch_size))
        return self

    def read(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Images (N, H, W) float32 in [0, 1] -> `LABELS` with probabilities (N,), and the estimated
        `ctr` (N,)."""
        if self.network is None:
            raise ValueError("this PhantomReader is not trained: call fit or load first")
        outputs = outputs_of(self.network, as_small_pixels(images)).double()
        read = dict(zip(LABELS, outputs[:, :-1].sigmoid().numpy().T, strict=True))
        read["ctr"] = outputs[:, -1].numpy() * _CTR_STD + _CTR_MEAN
        return read

    def features(self, images: np.ndarray) -> np.ndarray:
        """(N, 128) of the layer before the outputs, for distances of sets of images."""
        return self.network.features_of(images)

    def score(self, images: np.ndarray, truths: list[dict[str, Any]]) -> dict[str, float]:
        """AUC of each label with both classes present, and `ctr_r2`: on real held-out images this
        is the ceiling."""
        from sklearn.metrics import r2_score, roc_auc_score

        read, labels = self.read(images), label_table(truths)
        scores = {
            key: float(roc_auc_score(column, read[key]))
            for key, column in zip(LABELS, labels.T, strict=True)
            if 0 < column.sum() < len(column)
        }
        scores["ctr_r2"] = float(r2_score([truth["ctr"] for truth in truths], read["ctr"]))
        return scores

    def save(self, folder: str | Path) -> None:
        """Weights and labels, as `load` reads them."""
        save_module(
            self.network, folder, {"view": self.view, "seed": self.seed, "labels": list(LABELS)}
        )

    @classmethod
    def load(cls, folder: str | Path) -> "PhantomReader":
        """A reader that `save` wrote; raises ValueError where it was made for other labels."""
        config = load_config(folder)
        if tuple(config["labels"]) != LABELS:
            raise ValueError(
                f"reader in {folder} has the labels {config['labels']}, expected {list(LABELS)}: "
                "fit it again"
            )
        reader = cls(config["seed"])
        reader.view = config["view"]
        reader.network = load_module(SmallNetwork(len(LABELS) + 1), folder).eval()
        return reader
