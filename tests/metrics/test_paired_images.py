"""Errors of pairs against numbers that are known."""

import numpy as np
import pytest

from medcodi.metrics.paired_images import paired_figures


def test_known_errors():
    real = np.random.default_rng(0).random((6, 16, 16)) * 0.8
    same = paired_figures(real, real, num_resamples=20)
    assert same["MSE"].value == 0 and same["PSNR"].value == 100
    assert same["SSIM"].value == pytest.approx(1)
    moved = paired_figures(real + 0.1, real, num_resamples=20)
    assert moved["MSE"].value == pytest.approx(0.01, rel=1e-4)
    assert moved["PSNR"].value == pytest.approx(20, rel=1e-3)
    assert moved["SSIM"].value < 1 and moved["SSIM"].n == 6


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="pairs of equal shape"):
        paired_figures(np.zeros((2, 16, 16)), np.zeros((3, 16, 16)))
