"""Convolutions and losses that the systems share: sizes, where norms stand, the sides of a loss."""

import math

import pytest
import torch
from torch import nn

from medcodi.baselines import layers


def test_each_width_halves_or_doubles_the_side():
    images = torch.zeros(2, 3, 32, 32)
    coarse = nn.Sequential(*layers.down(3, [4, 8], None, norm=True, bias=False))(images)
    assert coarse.shape == (2, 8, 8, 8)
    fine = nn.Sequential(*layers.up(8, [4, 3], norm=True, bias=False))(coarse)
    assert fine.shape == images.shape


def test_no_norm_where_images_come_in_or_go_out():
    kinds = [type(layer).__name__ for layer in layers.down(1, [4, 8], None, True, False)]
    assert kinds == ["Conv2d", "LeakyReLU", "Conv2d", "BatchNorm2d", "LeakyReLU"]
    kinds = [type(layer).__name__ for layer in layers.up(8, [4, 1], True, False)]
    assert kinds == ["ConvTranspose2d", "BatchNorm2d", "ReLU", "ConvTranspose2d", "Tanh"]


def test_losses_are_minus_log_likelihoods():
    logits = torch.tensor([-2.0, 0.0, 3.0])
    real = torch.sigmoid(logits)
    assert torch.allclose(layers.as_real(logits), -real.log().mean())
    assert torch.allclose(layers.as_made(logits), -(1 - real).log().mean())
    assert float(layers.as_real(torch.zeros(5))) == pytest.approx(math.log(2))


def test_first_weights_have_the_published_spread():
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(16, 64, 4), nn.Linear(16, 16)
    before = linear.weight.clone()
    nn.Sequential(convolution, linear).apply(layers.initialise)
    assert float(convolution.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert torch.equal(linear.weight, before)
