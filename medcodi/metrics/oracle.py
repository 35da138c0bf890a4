"""Image reader of the chest phantom: measures what a generated image shows, independently of the
model's encoders.

Legend: N images, H, W grid, K outputs. A small CNN for one view, trained on real phantom images
with known truth.
"""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

logger = logging.getLogger(__name__)

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
READER_SIZE = 64
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


class ReaderNetwork(nn.Module):
    """(N, 1, 64, 64) in [0, 1] -> (N, K) outputs."""

    def __init__(self, num_outputs: int, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 5, stride=2, padding=2)
        self.body = nn.ModuleList(
            [
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1),
            ]
        )
        self.norms = nn.ModuleList(
            [nn.BatchNorm2d(width), nn.BatchNorm2d(2 * width), nn.BatchNorm2d(2 * width)]
        )
        self.hidden = nn.Linear(2 * width * 64, 128)
        self.norm = nn.BatchNorm1d(128)
        self.out = nn.Linear(128, num_outputs)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """What the outputs are read from: (N, 128), not negative."""
        features = F.relu(self.norms[0](self.stem(2 * images - 1)))  # N, width, 32, 32
        for convolution, norm in zip(self.body, list(self.norms)[1:], strict=True):
            features = F.relu(norm(convolution(features)))  # N, 2 width, 16, 16; then 8, 8
        return F.relu(self.norm(self.hidden(features.flatten(1))))  # N, 128

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.out(F.dropout(self.features(images), 0.3, self.training))


class PhantomReader:
    """Reads findings from phantom images of one view; `fit` it, or `load` a saved one."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.view: str | None = None
        self.network: ReaderNetwork | None = None

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
        pixels = to_pixels(images)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network = ReaderNetwork(len(LABELS) + 1)
            self._train(pixels, labels, ratio, num_epochs, batch_size)
        return self

    def _train(
        self,
        pixels: torch.Tensor,
        labels: torch.Tensor,
        ratio: torch.Tensor,
        num_epochs: int,
        batch_size: int,
    ) -> None:
        network = self.network.train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.02)
        num_steps = num_epochs * max(len(pixels) // batch_size, 1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 3e-3, total_steps=num_steps, pct_start=0.2
        )
        step = 0
        while step < num_steps:
            for rows in torch.randperm(len(pixels)).split(batch_size):
                if step == num_steps or (len(rows) < batch_size <= len(pixels)):
                    break
                outputs = network(shifted(pixels[rows]))
                loss = F.binary_cross_entropy_with_logits(outputs[:, :-1], labels[rows])
                loss = loss + 0.3 * F.mse_loss(outputs[:, -1], ratio[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                step += 1
        network.eval()

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Images (N, H, W) float32 in [0, 1] -> `LABELS` with probabilities (N,), and the estimated
        `ctr` (N,)."""
        if self.network is None:
            raise ValueError("this PhantomReader is not trained: call fit or load first")
        outputs = torch.cat([self.network(part) for part in to_pixels(images).split(512)]).double()
        read = dict(zip(LABELS, outputs[:, :-1].sigmoid().numpy().T, strict=True))
        read["ctr"] = outputs[:, -1].numpy() * _CTR_STD + _CTR_MEAN
        return read

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
        """Write `reader.safetensors` and `reader.json` into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.network.state_dict(), folder / "reader.safetensors")
        config = {"view": self.view, "seed": self.seed, "labels": LABELS}
        (folder / "reader.json").write_text(json.dumps(config, indent=2))

    @classmethod
    def load(cls, folder: str | Path) -> "PhantomReader":
        """A reader that `save` wrote; raises ValueError where it was made for other labels."""
        config = json.loads((Path(folder) / "reader.json").read_text())
        if tuple(config["labels"]) != LABELS:
            raise ValueError(
                f"reader in {folder} has the labels {config['labels']}, expected {list(LABELS)}: "
                "fit it again"
            )
        reader = cls(config["seed"])
        reader.view = config["view"]
        reader.network = ReaderNetwork(len(LABELS) + 1)
        reader.network.load_state_dict(load_file(Path(folder) / "reader.safetensors"))
        reader.network.eval()
        return reader


def to_pixels(images: np.ndarray) -> torch.Tensor:
    """(N, H, W) -> (N, 1, 64, 64)."""
    images = np.asarray(images, np.float32)
    if images.ndim != 3:
        raise ValueError(f"expected images (N, H, W), got shape {images.shape}")
    pixels = torch.from_numpy(images)[:, None]
    if pixels.shape[-2:] != (READER_SIZE, READER_SIZE):
        pixels = F.interpolate(
            pixels, size=(READER_SIZE, READER_SIZE), mode="bilinear", antialias=True
        )
    return pixels.contiguous()


def shifted(pixels: torch.Tensor) -> torch.Tensor:
    """Move a batch by up to one pixel and add a little noise, so that generated images are not out
    of range."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    return torch.roll(pixels, (down, right), (2, 3)) + 0.02 * torch.randn_like(pixels)
