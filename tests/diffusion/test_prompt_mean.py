"""E[z_0 | prompts] by a network: it learns a side that the context names, and what is masked says
nothing."""

import pytest
import torch

from medcodi.config import DiffusionConfig
from medcodi.diffusion.denoisers.patches import PatchDenoiser
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import build_objective
from medcodi.diffusion.prompt_mean import PromptMean
from tests.networks import normal, wake

WIDTH = 16


@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 3, 5), (3, 4)])
def test_it_has_the_shape_of_the_latents_and_starts_at_zero(shape):
    mean = PromptMean(shape, WIDTH)
    out = mean(normal(2, 3, WIDTH), torch.ones(2, 3, dtype=torch.bool))
    assert out.shape == (2, *shape) and not out.any()


def test_masked_tokens_change_nothing():
    mean = wake(PromptMean((2, 4, 4), WIDTH)).eval()
    context, mask = normal(2, 3, WIDTH), torch.tensor([[True, True, False]] * 2)
    changed = context.clone()
    changed[:, 2] += 1
    assert torch.equal(mean(context, mask), mean(changed, mask))


def test_it_learns_which_side_a_token_names():
    """Clean latents are bright on the left or the right half, as the second token says."""
    torch.manual_seed(0)
    mean = PromptMean((1, 4, 4), WIDTH)
    words, mask = normal(2, WIDTH, seed=3), torch.ones(32, 2, dtype=torch.bool)
    side = torch.arange(32) % 2
    context = torch.stack([torch.zeros(32, WIDTH), words[side]], dim=1)
    target = torch.zeros(32, 1, 4, 4)
    target[side == 0, :, :, :2], target[side == 1, :, :, 2:] = 1.0, 1.0
    optimizer = torch.optim.AdamW(mean.parameters(), lr=3e-3)
    for _ in range(60):
        loss = (mean(context, mask) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02


def model(**parts):
    config = DiffusionConfig(prediction_type="flow", context_dim=WIDTH)
    fusion = PromptFusion("tokens", {"p": 6}, 8, WIDTH)
    denoiser = PatchDenoiser((2, 4, 4), WIDTH, width=16, depth=3, num_heads=2, estimate=True)
    return LatentDiffusion(fusion, denoiser, build_objective(config), **parts)


def test_the_denoiser_reads_the_mean_and_sends_no_gradient_back():
    diffusion = wake(model(prompt_mean=PromptMean((2, 4, 4), WIDTH)))
    context = diffusion.context({}, torch.zeros(2, 1, dtype=torch.bool))
    latents, times = normal(2, 2, 4, 4), torch.tensor([100.0, 900.0])
    out = diffusion(latents, times, context)
    out.sum().backward()
    assert all(p.grad is None for p in diffusion.prompt_mean.parameters())
    context.mean = context.mean + 1
    assert not torch.allclose(out, diffusion(latents, times, context))
