"""Image networks of the suite, how images reach them, and augmentation.

Legend: N images, H W pixels, K outputs.
"""

import itertools

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from medcodi.metrics.images import as_float_images

NETWORKS = ("tiny", "densenet121")
LEAST_SIZE, LARGEST_SIZE = 64, 128  # pixels of a side that the small network looks at
GRID, HIDDEN = 8, 128


class SmallNetwork(nn.Module):
    """(N, 1, H, W) in [-1, 1] -> (N, K), for images of 32 to 128 pixels on a CPU. Keeps an 8 x 8
    layout, so that a side stays a side."""

    def __init__(self, num_outputs: int, width: int = 16) -> None:
        super().__init__()
        widths = (1, width, 2 * width, 2 * width)
        layers: list[nn.Module] = []
        for depth, (before, after) in enumerate(itertools.pairwise(widths)):
            kernel = 5 if depth == 0 else 3
            convolution = nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten())
        self.hidden = nn.Sequential(
            nn.Linear(2 * width * GRID**2, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(HIDDEN, num_outputs))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """What the outputs are read from: (N, 128), not negative."""
        return self.hidden(self.body(images))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))

    @torch.inference_mode()
    def features_of(self, images: np.ndarray) -> np.ndarray:
        """`features` (N, 128) float64 of images (N, H, W) in [0, 1]."""
        parts = as_small_pixels(images).split(512)
        return torch.cat([self.features(part) for part in parts]).double().numpy()


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
    return SmallNetwork(num_outputs) if name == "tiny" else GreyDenseNet(num_outputs)


def as_pixels(images: np.ndarray, what: str = "images") -> torch.Tensor:
    """(N, H, W) in [0, 1] -> (N, 1, H, W) float32 in [-1, 1]; ValueError as `as_float_images`."""
    return 2 * torch.from_numpy(as_float_images(images, what))[:, None] - 1


def as_small_pixels(images: np.ndarray, what: str = "images") -> torch.Tensor:
    """As `as_pixels`, with the longest side brought into the 64 to 128 pixels of `SmallNetwork`,
    so that what it reads does not depend on the size that images are stored in."""
    pixels = as_pixels(images, what)
    longest = max(pixels.shape[-2:])
    side = min(max(longest, LEAST_SIZE), LARGEST_SIZE)
    if longest == side:
        return pixels
    size = [max(round(extent * side / longest), 1) for extent in pixels.shape[-2:]]
    return F.interpolate(pixels, size=size, mode="bilinear", antialias=True)


def shifted(pixels: torch.Tensor, max_shift: int) -> torch.Tensor:
    """Each image (N, 1, H, W) moved by up to `max_shift` pixels either way, borders repeated. Sides
    are not swapped."""
    if max_shift < 1:
        return pixels
    height, width = pixels.shape[-2:]
    padded = F.pad(pixels, [max_shift] * 4, mode="replicate")
    offsets = torch.randint(2 * max_shift + 1, (len(pixels), 2))
    rows = offsets[:, :1] + torch.arange(height)  # N, H
    columns = offsets[:, 1:] + torch.arange(width)  # N, W
    index = torch.arange(len(pixels))[:, None, None]
    return padded[index, 0, rows[:, :, None], columns[:, None, :]][:, None]


def acquired(pixels: torch.Tensor, max_shift: int = 1, noise: float = 0.04) -> torch.Tensor:
    """Moved by a pixel and with a little noise, so that generated images are not out of range for
    a network that saw real ones only."""
    moved = shifted(pixels, max_shift)
    return moved + noise * torch.randn_like(moved)
