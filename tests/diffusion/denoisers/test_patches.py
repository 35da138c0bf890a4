"""The transformer over patches: shapes, places, coupling."""

import pytest
import torch

from medcodi.diffusion.denoisers.patches import PatchDenoiser
from tests.networks import normal, wake

MASK = torch.ones(2, 3, dtype=torch.bool)
TIMES = torch.tensor([10.0, 900.0])


def denoiser(**changes):
    torch.manual_seed(0)
    return PatchDenoiser((2, 4, 6), 8, **{"width": 16, "depth": 3, "num_heads": 2} | changes)


def test_it_starts_at_zero_and_keeps_the_shape():
    out = denoiser()(normal(2, 2, 4, 6), TIMES, normal(2, 3, 8), MASK)
    assert out.shape == (2, 2, 4, 6) and not out.any()


def test_patches_know_their_place():
    """Equal patches of equal latents get different predictions, where nothing else differs."""
    out = wake(denoiser())(torch.zeros(2, 2, 4, 6), TIMES, normal(2, 3, 8), MASK)
    assert not torch.allclose(out[..., :2, :2], out[..., 2:, 4:])


def test_partners_say_nothing_before_stage_3_has_trained():
    network = wake(denoiser()).eval()
    given = normal(2, 2, 4, 6), TIMES, normal(2, 3, 8), MASK
    before = network(*given)
    network.add_coupling(8)
    codes, shown = normal(2, 5, 8, seed=1), torch.ones(2, 5, dtype=torch.bool)
    assert torch.equal(before, network(*given, coupling=codes, coupling_mask=shown))
    assert network.coupling_parameters()


def test_a_grid_that_the_patch_does_not_divide_is_an_error():
    with pytest.raises(ValueError, match="4x6 is not divisible by patch 4"):
        denoiser(patch=4)
