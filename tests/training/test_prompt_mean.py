"""Stage 2 with `diffusion.prompt_mean`: the mean is trained alone at first, then beside its
denoiser."""

import pytest

from medcodi.training.draws import Draws
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.stage2 import Stage2Task
from tests.tiny import BATCH, copy_run

LATER = ("stage2", "stage3")
SIZES = {"patch": 2, "width": 32, "depth": 3, "num_heads": 4}


@pytest.fixture
def recipe(tiny_run, tmp_path):
    diffusion = {"linear_denoiser": False, "prompt_mean": True, "prompt_mean_share": 0.5}
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
