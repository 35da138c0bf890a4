"""Memory estimates: exact where a hand can count, and equal to what a real step of the tiny family
keeps."""

from pathlib import Path

import pytest
import torch

from medcodi.bench.memory import (
    GIB,
    joint_sampling,
    prompts_of,
    stand_in_assets,
    training_step,
    without_memory,
)
from medcodi.config import StageConfig
from medcodi.config_io import for_modality, load_recipe
from medcodi.modalities.family import ModelFamily, seeded
from medcodi.training.run import Run
from medcodi.training.speed import speed_up

ROWS = 32


def test_the_peak_is_counted_by_hand():
    with without_memory() as memory:
        x = torch.ones(1024)  # 4 KiB
        y = x * 2
        z = y.view(32, 32).t()  # of the same storage
        assert memory.live == 2 * 4096
        del y, z
        assert memory.live == 4096
        x.add_(1)
    assert memory.peak == 2 * 4096 and x.shape == (1024,)


@pytest.fixture(scope="module")
def family(tiny_run):
    return Run(tiny_run).family


def kept_for_backward(family, name: str, config: StageConfig) -> int:
    """Bytes that a real step keeps, weights left out."""
    kept, own = {}, set()

    def pack(x):
        if x.untyped_storage().data_ptr() not in own:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with seeded(0):
        model = family.build_diffusion(name).train()
    speed_up(model, config)
    own |= {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    prompts = prompts_of(family, name, ROWS)
    latents = torch.randn(ROWS, *family.latent_shape(family.modality(name).group))
    keep = torch.ones(ROWS, len(prompts), dtype=torch.bool)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        context = model.context(prompts, keep)
        loss = model(latents, torch.full((ROWS,), 500.0), context).square().mean()
        loss = loss + context.mean.square().mean()
    assert loss.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("name", ["frontal", "report"])
def test_the_estimate_is_what_a_real_step_keeps(family, name):
    real = kept_for_backward(family, name, StageConfig()) / GIB
    assert training_step(family, name, ROWS, StageConfig())["activations"] == pytest.approx(
        real, rel=0.1
    )


def test_settings_do_what_they_are_for(family):
    plain = training_step(family, "frontal", ROWS, StageConfig())
    assert (
        training_step(family, "frontal", 2 * ROWS, StageConfig())["activations"]
        > 1.8 * plain["activations"]
    )
    saved = training_step(family, "frontal", ROWS, StageConfig(gradient_checkpointing=True))
    assert saved["activations"] < 0.6 * plain["activations"] and saved["peak"] < plain["peak"]
    averaged = training_step(family, "frontal", ROWS, StageConfig(ema_decay=0.9))
    assert averaged["state"] == pytest.approx(plain["state"] * 5 / 4)
    assert plain["buckets"] == pytest.approx(plain["state"] / 4)  # DDP's copy of the gradients
    assert averaged["state"] == pytest.approx(averaged["parameters_million"] * 1e6 * 4 * 5 / GIB)


@pytest.mark.slow
def test_the_paper_recipe_fits_its_gpus():
    """Four of 40 GB, as its head says; twice the micro-batch would not fit."""
    recipe = load_recipe(Path(__file__).parents[2] / "configs" / "mimic_cxr_paper.yaml")
    family = ModelFamily(recipe, stand_in_assets(recipe))
    needed = {}
    for name, factor in (("frontal", 1), ("report", 1), ("frontal", 2)):
        config = for_modality(recipe.stage2, name)
        step = training_step(
            family,
            name,
            factor * config.batch_size // config.gradient_accumulation_steps // 4,
            config,
        )
        needed[name, factor] = (step["peak"] + step["buckets"]) * GIB
    print({key: value / GIB for key, value in needed.items()})
    assert max(needed["frontal", 1], needed["report", 1]) < 0.9 * 40e9 < 40e9 < needed["frontal", 2]


def test_joint_sampling(family):
    few, many = (
        joint_sampling(family, ["frontal", "report"], rows, torch.float32) for rows in (1, 64)
    )
    assert few["weights"] == many["weights"] < few["peak"] < many["peak"]
    half = joint_sampling(family, ["frontal", "report"], 1, torch.bfloat16)
    assert half["weights"] == pytest.approx(few["weights"] / 2)
