"""Environment encoders: tokens of noisy latents."""

import pytest
import torch

from medcodi.diffusion.environment import EnvironmentEncoder
from tests.networks import (
    ENVIRONMENT,
    SHAPES,
    environments,
    normal,
)


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_environment_codes_depend_on_every_latent_and_on_the_noise_level(kind):
    encoder = environments()[kind]
    latents = normal(2, *SHAPES[kind]).requires_grad_(True)
    codes = encoder(latents, torch.tensor([0.0, 1.0]))
    assert codes.shape == (2, encoder.num_tokens, ENVIRONMENT)
    codes[:, 0].square().sum().backward()
    assert (latents.grad.abs().flatten(2).sum(2 if kind == "slots" else 1) > 0).all()
    same = latents.detach()[:1].expand(2, *SHAPES[kind])
    clean, noisy = encoder(same, torch.tensor([0.0, 1.0]))
    assert not torch.allclose(clean, noisy, atol=1e-3)


def test_patches_make_fewer_tokens_and_must_divide_the_grid():
    assert EnvironmentEncoder((2, 4, 4), 8, patch=2).num_tokens == 4
    with pytest.raises(ValueError, match="4x4 is not divisible by patch 3"):
        EnvironmentEncoder((2, 4, 4), 8, patch=3)
