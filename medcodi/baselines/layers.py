"""Convolutions that the systems share.

Legend: N images, C channels, S side.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # of leaky ReLU


def down(
    channels: int, widths: Sequence[int], activation: type[nn.Module] | None, norm: bool, bias: bool
) -> list[nn.Module]:
    """Convolutions 4 x 4 of stride 2, one a width, each halving the side; `activation` None: leaky
    ReLU. Batch norm, with `norm`, behind all but the first."""
    layers: list[nn.Module] = []
    for i, width in enumerate(widths):
        layers.append(nn.Conv2d(channels, width, 4, 2, 1, bias=bias))
        if norm and i:
            layers.append(nn.BatchNorm2d(width))
        layers.append(activation() if activation else nn.LeakyReLU(SLOPE))
        channels = width
    return layers


def up(channels: int, widths: Sequence[int], norm: bool, bias: bool) -> list[nn.Module]:
    """Transposed convolutions 4 x 4 of stride 2, one a width, each doubling the side. ReLU, and
    with `norm` batch norm, behind all but the last, which ends in tanh."""
    layers: list[nn.Module] = []
    for i, width in enumerate(widths):
        layers.append(nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=bias))
        last = i == len(widths) - 1
        if norm and not last:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.Tanh() if last else nn.ReLU())
        channels = width
    return layers


def initialise(module: nn.Module) -> None:
    """Normal weights of sd .02 (Radford et al. 2016; Isola et al. 2017), for `Module.apply`."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0, 0.02)


def as_real(logits: Tensor) -> Tensor:
    """Loss of a discriminator's logits that should say real."""
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def as_made(logits: Tensor) -> Tensor:
    """Loss of a discriminator's logits that should say made."""
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
