"""Stage 2 with `diffusion.prompt_mean`: the mean is trained alone at first, then beside its
denoiser."""

import pytest
import torch

from medcodi.config import DiffusionConfig
from medcodi.export import build_pipeline
from medcodi.training.draws import Draws
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.stage2 import Stage2Task
from medcodi.training.tasks.stage3 import Stage3Task
from tests.tiny import BATCH, copy_run

LATER = ("stage2", "stage3")
SIZES = {"patch": 2, "width": 32, "depth": 3, "num_heads": 4}


@pytest.fixture
def recipe(tiny_run, tmp_path):
    diffusion = {"partner_mean": False, "prompt_mean_share": 0.5}
    recipe = copy_run(tiny_run, tmp_path, without=LATER, diffusion=diffusion)
    recipe.modalities["frontal"] = {
        **recipe.modalities["frontal"],
        "denoiser": {"transformer": SIZES},
    }
    return recipe


def test_the_mean_is_trained_alone_at_first(recipe):
    task = Stage2Task(Run(recipe), "frontal").train()
    batch = task.dataset("train")[list(range(BATCH))]
    draws = Draws(0, "fixed", 0, BATCH, range(BATCH))
    first = task(batch, draws, 0.4)
    assert set(first) == {"loss", "mean"} and first["loss"] == first["mean"]
    first["loss"].backward()
    assert all(p.grad is None for p in task.diffusion.denoiser.parameters())
    assert any(p.grad is not None for p in task.diffusion.fusion.parameters())
    later = task(batch, draws.of(range(BATCH)), 0.5)
    assert set(later) == {"loss", "mean", "denoising"}


def test_it_trains_in_bf16_and_goes_on_in_stage_3(recipe):
    recipe.stage2.mixed_precision = "bf16"
    train_stage(recipe, "stage2")
    train_stage(recipe, "stage3")


def test_partners_add_to_the_mean_in_stage_3(recipe):
    """Its regressions stand beside the losses; its networks train, those of stage 2 do not."""
    train_stage(recipe, "stage2")
    recipe.diffusion.partner_mean = True
    train_stage(recipe, "stage2")  # is finished: it does not read the setting
    task = Stage3Task(Run(recipe)).train()
    batch = task.dataset("train")[list(range(BATCH))]
    losses = task(batch, Draws(0, "fixed", 0, BATCH, range(BATCH)), 0.5)
    means = {key for key in losses if key.endswith("/mean")}
    assert means == {f"{name}/mean" for name in task.names}
    losses["loss"].backward()
    for model in task.joint.diffusions.values():
        assert all(p.grad is None for p in model.prompt_mean.parameters())
        assert any(p.grad.any() for p in model.partner_mean.parameters() if p.grad is not None)
    train_stage(recipe, "stage3")
    pipe = build_pipeline(recipe)
    joint = pipe(num_inference_steps=2, seeds=[1]).latents
    apart = pipe(num_inference_steps=2, seeds=[1], coupled=False).latents
    assert not torch.equal(joint["frontal"], apart["frontal"])


def test_a_partner_mean_needs_the_prompt_mean():
    with pytest.raises(ValueError, match="needs prompt_mean"):
        DiffusionConfig(partner_mean=True)
