"""A linear denoiser, fitted."""

import pytest

from medcodi.diffusion.closed_form.linear_denoiser import LinearDenoiser
from tests.diffusion.closed_form.parts import SHAPE, WIDTHS, batches


@pytest.fixture(scope="module")
def fitted():
    mean = LinearDenoiser(WIDTHS, SHAPE)
    return mean, mean.fit(batches, lambda: batches(seed=1))
