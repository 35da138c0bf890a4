"""The image autoencoder: shapes, and patches as channels."""

import pytest
import torch

from medcodi.autoencoders.image_kl import ImageKL
from tests.networks import normal


def autoencoder(**changes):
    torch.manual_seed(0)
    sizes = {"image_size": 16, "block_out_channels": [8, 8], "layers_per_block": 1}
    sizes |= {"latent_channels": 4, "norm_num_groups": 4, "mid_block_add_attention": False}
    return ImageKL(**sizes | {"kl_weight": 1e-4, "edge_weight": 1.0} | changes).eval()


@pytest.mark.parametrize(("patch", "side"), [(1, 8), (4, 2)])
def test_a_patch_multiplies_the_factor(patch, side):
    model, images = autoencoder(patch=patch), normal(2, 1, 16, 16).clamp(-1, 1)
    assert model.latent_shape == (4, side, side) == tuple(model.encode(images).shape[1:])
    assert model.decode(model.encode(images)).shape == images.shape
    losses = model.losses(images, 0.5, torch.Generator().manual_seed(0))
    losses["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())


def test_an_encoder_that_rests_has_no_gradient():
    model, images = autoencoder(train_encoder=False), normal(2, 1, 16, 16).clamp(-1, 1)
    losses = model.losses(images, 0.5, torch.Generator().manual_seed(0))
    losses["loss"].backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    decoder = {n for n, _ in model.named_parameters() if "decoder" in n or "post_quant" in n}
    assert trained == decoder
    both = autoencoder().losses(images, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(both["loss"], losses["loss"])


def test_a_size_that_the_factor_does_not_divide_is_an_error():
    with pytest.raises(ValueError, match="16 is not divisible by the autoencoder's factor 6"):
        autoencoder(patch=3)
