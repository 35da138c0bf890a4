"""Terms of the loss that the autoencoders share."""

import pytest
import torch

from medcodi.autoencoders.base import cyclical_beta, kl_per_dimension, kl_with_free_bits


def test_kl_is_that_of_torch_and_free_bits_are_free():
    mean, logvar = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mean, (0.5 * logvar).exp()), normal(0.0, 1.0)
    )
    assert torch.allclose(kl_per_dimension(mean, logvar), expected, atol=1e-5)
    assert kl_with_free_bits(torch.zeros(5, 3, 2), torch.zeros(5, 3, 2), 0.5) == pytest.approx(3.0)


def test_cyclical_beta():
    """Fu et al. 2019: zero, ramp, plateau, again; the end of training is at the full weight."""
    values = [cyclical_beta(p, 0.2, num_cycles=2) for p in (0.0, 0.2, 0.3125, 0.4, 0.5, 0.9, 1.0)]
    assert values == pytest.approx([0.0, 0.0, 0.1, 0.2, 0.0, 0.2, 0.2])
