"""The image autoencoder: shapes, and patches as channels."""

import pytest
import torch

from tests.autoencoders.parts import image_autoencoder
from tests.networks import normal


@pytest.mark.parametrize(("patch", "side"), [(1, 8), (4, 2)])
def test_a_patch_multiplies_the_factor(patch, side):
    model, images = image_autoencoder(patch=patch), normal(2, 1, 16, 16).clamp(-1, 1)
    assert model.latent_shape == (4, side, side) == tuple(model.encode(images).shape[1:])
    assert model.decode(model.encode(images)).shape == images.shape
    losses = model.losses(images, 0.5, torch.Generator().manual_seed(0))
    losses["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_an_encoder_that_rests_has_no_gradient():
    model, images = image_autoencoder(train_encoder=False), normal(2, 1, 16, 16).clamp(-1, 1)
    losses = model.losses(images, 0.5, torch.Generator().manual_seed(0))
    losses["loss"].backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    decoder = {n for n, _ in model.named_parameters() if "decoder" in n or "post_quant" in n}
    assert trained == decoder
    both = image_autoencoder().losses(images, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(both["loss"], losses["loss"])


def test_a_size_that_the_factor_does_not_divide_is_an_error():
    with pytest.raises(ValueError, match="16 is not divisible by the autoencoder's factor 6"):
        image_autoencoder(patch=3)
