"""PGGAN: equalised learning rates, projection on labels, scores that compare a batch."""

import pytest
import torch

from medcodi.baselines.pggan import PGGAN, PGGANSettings, Scaled

SETTINGS = PGGANSettings(base=64, most=8, latent_dim=16)


@pytest.fixture
def system():
    torch.manual_seed(0)
    return PGGAN(16, 2, SETTINGS)


def test_scaled_layers_keep_the_variance():
    torch.manual_seed(0)
    for kernel, shape in ((0, (4000, 64)), (3, (40, 64, 12, 12))):
        layer = Scaled(64, 32, kernel, gain=1.0)
        out = layer(torch.randn(shape))[..., 1:-1]  # without the padded border
        assert float(layer.weight.detach().std()) == pytest.approx(1, rel=0.05)
        assert float(out.detach().std()) == pytest.approx(1, rel=0.1)


def test_the_score_is_affine_in_the_labels(system):
    """Miyato and Koyama 2018, equation 4: y^T V phi(x) + psi(phi(x))."""
    images = torch.randn(5, 1, 16, 16)
    labels = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    none, first, second, both = (
        system.discriminator(images, row.expand(5, -1), 2, 1.0) for row in labels
    )
    assert torch.allclose(first + second - none, both, atol=1e-5)
    assert not torch.allclose(first, none, atol=1e-3)


def test_equal_images_have_a_score_and_a_gradient(system):
    """The spread of such a batch is zero, where a square root has no slope."""
    images = torch.ones(4, 1, 16, 16, requires_grad=True)
    scores = system.discriminator(images, torch.zeros(4, 2), 2, 1.0)
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    gradient.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in system.parameters() if p.grad is not None)
