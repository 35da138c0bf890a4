"""Small networks that the suite trains itself, on real or synthetic data, and the loop that fits
them.

Legend: N rows, H W pixels, K outputs. Images are float arrays (N, H, W) in [0, 1].
"""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medcodi.metrics.images import as_float_images

logger = logging.getLogger(__name__)

NETWORKS = ("tiny", "densenet121")


@dataclass(frozen=True)
class FitSettings:
    """How a network is fitted: at most `num_epochs` (and at least `min_steps` steps, on a small set
    by more epochs), stopped when the validation loss has not improved for `patience` epochs; the
    best epoch's weights are kept."""

    network: str = "densenet121"
    num_epochs: int = 50
    min_steps: int = 0
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int = 5
    max_shift: int = 2  # pixels, either way: augmentation that does not swap sides
    device: str = "cpu"


class TinyNetwork(nn.Module):
    """(N, 1, H, W) -> (N, K), for images of 32 to 128 pixels on a CPU. Keeps an 8 x 8 layout: a
    side stays a side."""

    def __init__(self, num_outputs: int, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=2, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(8),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * width * 64, num_outputs))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))


class GreyDenseNet(nn.Module):
    """torchvision's DenseNet-121 from scratch on grey images (N, 1, H, W), repeated to its three
    channels."""

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        from torchvision.models import densenet121

        self.network = densenet121(weights=None, num_classes=num_outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images.expand(-1, 3, -1, -1))


def build_network(name: str, num_outputs: int) -> nn.Module:
    """A randomly initialised image network of `NETWORKS`."""
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}, expected one of {', '.join(NETWORKS)}")
    return TinyNetwork(num_outputs) if name == "tiny" else GreyDenseNet(num_outputs)


def as_pixels(images: np.ndarray, what: str = "images") -> torch.Tensor:
    """(N, H, W) in [0, 1] -> (N, 1, H, W) float32 in [-1, 1]; ValueError as `as_float_images`."""
    return 2 * torch.from_numpy(as_float_images(images, what))[:, None] - 1


def shifted(pixels: torch.Tensor, max_shift: int) -> torch.Tensor:
    """Each image (N, 1, H, W) moved by up to `max_shift` pixels either way, borders repeated."""
    if max_shift < 1:
        return pixels
    height, width = pixels.shape[-2:]
    padded = F.pad(pixels, [max_shift] * 4, mode="replicate")
    offsets = torch.randint(2 * max_shift + 1, (len(pixels), 2))
    rows = offsets[:, :1] + torch.arange(height)  # N, H
    columns = offsets[:, 1:] + torch.arange(width)  # N, W
    index = torch.arange(len(pixels))[:, None, None]
    return padded[index, 0, rows[:, :, None], columns[:, None, :]][:, None]


def fit(
    network: nn.Module,
    loss: Callable[[torch.Tensor], torch.Tensor],
    num_rows: int,
    validate: Callable[[], float] | None,
    settings: FitSettings,
) -> int:
    """Fit `network` by AdamW; `loss(rows)` is that of a batch of row indices, `validate()` the
    figure that early
    stopping lowers (None: every epoch is run). Returns the epochs run. Draw from torch's global
    generator only.

    ValueError for fewer than two rows and for a loss that is not finite.
    """
    if num_rows < 2:
        raise ValueError(f"expected two training rows or more, got {num_rows}")
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    per_epoch = max(num_rows // settings.batch_size, 1)
    num_epochs = max(settings.num_epochs, -(-settings.min_steps // per_epoch))
    # An epoch of a tiny set is too short to judge: validate after 10 steps or more.
    every = max(1, min(10, settings.min_steps) // per_epoch)
    best, since, kept, epoch = np.inf, 0, None, 0
    for epoch in range(1, num_epochs + 1):
        network.train()
        for rows in torch.randperm(num_rows).split(settings.batch_size):
            if len(rows) < 2 or (len(rows) < settings.batch_size // 2 <= num_rows // 2):
                continue  # a small rest makes a poor batch norm
            value = loss(rows)
            if not torch.isfinite(value):
                raise ValueError(
                    f"the loss of {type(network).__name__} is {float(value)} in epoch {epoch}"
                )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        if validate is None or epoch % every:
            continue
        network.eval()
        with torch.inference_mode():
            figure = validate()
        if figure < best:
            best, since, kept = figure, 0, copy.deepcopy(network.state_dict())
        else:
            since += 1
            if since >= settings.patience:
                break
    if kept is not None:
        network.load_state_dict(kept)
    network.eval()
    return epoch


@torch.inference_mode()
def outputs_of(
    network: nn.Module, *inputs: torch.Tensor, device: str = "cpu", batch_size: int = 256
) -> torch.Tensor:
    """Outputs (N, K) on the CPU of rows (N, ...) given batch by batch."""
    network.eval()
    parts = zip(*(x.split(batch_size) for x in inputs), strict=True)
    return torch.cat([network(*(x.to(device) for x in part)).cpu() for part in parts])
