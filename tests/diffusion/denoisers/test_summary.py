"""The summary of the prompts: first token of the context, and its short ways into the denoisers."""

import pytest
import torch

from medcodi.config import DiffusionConfig
from medcodi.diffusion.denoisers.vector import VectorDenoiser
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import build_objective
from medcodi.encoders.base import PromptEncoding

B, E, W, D = 3, 8, 6, 12


@pytest.fixture
def fusion() -> PromptFusion:
    torch.manual_seed(0)
    return PromptFusion("tokens", {"a": W, "b": W}, E, D)


@pytest.fixture
def prompts() -> dict[str, PromptEncoding]:
    torch.manual_seed(1)
    ones = torch.ones(B, 4, dtype=torch.bool)
    return {n: PromptEncoding(torch.randn(B, E), torch.randn(B, 4, W), ones) for n in ("a", "b")}


def test_the_summary_adds_up_the_kept_prompts_and_is_null_without_any(fusion, prompts):
    keep = torch.tensor([[True, False], [True, True], [False, False]])
    context, mask = fusion(prompts, keep)
    each = {n: fusion.summaries[n](prompts[n].embeds) for n in ("a", "b")}
    expected = torch.stack([each["a"][0], each["a"][1] + each["b"][1], fusion.null[0, 0]])
    torch.testing.assert_close(context[:, 0], expected)
    assert mask[:, 0].all() and not mask[2, 1:].any()


def test_the_summary_reaches_the_vector_denoiser_without_attention():
    torch.manual_seed(0)
    denoiser = VectorDenoiser((4, 3), D, width=16, depth=3, num_heads=2, summary=True)
    for parameter in denoiser.parameters():  # zero-initialised ends would hide everything
        torch.nn.init.normal_(parameter, std=0.2)
    for block in denoiser.blocks:
        torch.nn.init.zeros_(block.context_attention.to_out.weight)
    mask = torch.ones(B, 2, dtype=torch.bool)
    arguments = torch.randn(B, 4, 3), torch.full((B,), 500.0)
    one, other = (denoiser(*arguments, torch.full((B, 2, D), value), mask) for value in (0.0, 1.0))
    assert (one - other).abs().max() > 1e-3


def test_shift_moves_timesteps_and_the_scheduler_alike():
    uniform = torch.tensor([0.25, 0.5, 0.75])
    config = DiffusionConfig(prediction_type="flow", shift=3.0)
    torch.testing.assert_close(
        build_objective(config).timesteps(uniform), 1000 * 3 * uniform / (1 + 2 * uniform)
    )
    assert build_objective(config).scheduler().config.shift == 3.0
    torch.testing.assert_close(
        build_objective(DiffusionConfig(prediction_type="flow")).timesteps(uniform), 1000 * uniform
    )


@pytest.mark.parametrize(("kind", "shift"), [("flow", 0.0), ("epsilon", 2.0)])
def test_shift_is_refused_where_it_means_nothing(kind, shift):
    with pytest.raises(ValueError, match="shift must be positive"):
        build_objective(DiffusionConfig(prediction_type=kind, shift=shift))
