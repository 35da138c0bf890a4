"""What a stage is keyed by: its own parts, and nothing else."""

import logging
import os
import signal

import pytest
import torch

from medcodi.config_io import for_modality
from medcodi.training.identity import (
    of_autoencoder,
    of_stage1,
    of_stage2,
    of_stage3,
    stage_identity,
)
from medcodi.training.interrupt import TrainingInterrupted
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.stage2 import Stage2Task
from tests.tiny import copy_run, tiny_recipe
from tests.training.parts import (
    Hooked,
    exported,
    fit_stage2,
    interrupted,
    stage2_recipe,
)


def test_checkpoint_of_another_recipe_is_refused(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path)
    with pytest.raises(TrainingInterrupted):
        fit_stage2(
            recipe, Hooked(Run(recipe), "tabular", 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        )
    described = [
        recipe.run_dir / "stage2" / "tabular" / name for name in ("config.yaml", "environment.json")
    ]
    before = [path.read_text() for path in described]
    described[1].write_text("of the run")
    recipe.stage2.optim.lr = 0.5
    with pytest.raises(
        ValueError, match=r"step_2 was made by another recipe .*change the recipe's name"
    ):
        train_stage(recipe, "stage2")
    assert [path.read_text() for path in described] == [before[0], "of the run"]


def test_accumulation_of_means_over_rows_may_change(tiny_run, tmp_path):
    """As from eight GPUs to four of the same micro-batch."""
    whole, moved = (
        stage2_recipe(tiny_run, tmp_path / folder, ema_decay=0.9) for folder in ("whole", "moved")
    )
    train_stage(whole, "stage2")
    interrupted(moved, "stage2")
    moved.stage2.gradient_accumulation_steps = 2
    train_stage(moved, "stage2")
    one, two = (exported(recipe, "stage2/tabular") for recipe in (whole, moved))
    for key in one:  # see test_accumulation_equals_one_batch
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-4, msg=key)
    assert torch.cat([(one[key] - two[key]).flatten() for key in one]).abs().mean() < 1e-6


def test_refused_checkpoint_says_what_differs(tiny_run, tmp_path):
    """Stage 1: smaller micro-batches have fewer negatives."""
    recipe = copy_run(tiny_run, tmp_path, without=("stage1", "pipeline"), stage1={"num_steps": 6})
    interrupted(recipe, "stage1")
    recipe.stage1.gradient_accumulation_steps = 2
    recipe.stage1.optim.betas = [0.9, 0.95]
    match = (
        r"made by another recipe \(stage1\.gradient_accumulation_steps is 1 there, 2 here; "
        r"stage1\.optim\.betas is \[0\.9, 0\.99\] there, \[0\.9, 0\.95\] here\)"
    )
    with pytest.raises(ValueError, match=match):
        train_stage(recipe, "stage1")


def test_options_keep_the_fingerprint(tiny_run):
    task = Stage2Task(Run(tiny_run), "tabular")
    config = for_modality(tiny_run.stage2, "tabular")
    key = stage_identity(task, config, 0)["fingerprint"]
    config.channels_last = config.compile = config.gradient_checkpointing = True
    assert stage_identity(task, config, 0)["fingerprint"] == key
    config.mixed_precision = "bf16"
    assert stage_identity(task, config, 0)["fingerprint"] != key


PARTS = {
    "autoencoder/radiograph": lambda run: of_autoencoder(run, "radiograph"),
    "autoencoder/report": lambda run: of_autoencoder(run, "report"),
    "stage1": of_stage1,
    "stage2/frontal": lambda run: of_stage2(run, "frontal"),
    "stage2/report": lambda run: of_stage2(run, "report"),
    "stage3": of_stage3,
}
STAGE2 = {"stage2/frontal", "stage2/report"}
of = lambda name, **arguments: {"modalities": {name: arguments}}


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"diffusion": {"clean_probability": 0.9}}, {"stage3"}),
        ({"diffusion": {"environment_dim": 32}}, {"stage3"}),
        ({"diffusion": {"environment_contrast_weight": 0.1}}, {"stage3"}),
        ({"diffusion": {"shift": 3.0}}, {*STAGE2, "stage3"}),
        ({"diffusion": {"null_prompt_probability": 0.2}}, {*STAGE2, "stage3"}),
        ({"shared_space": {"loss": "sigmoid"}}, {"stage1"}),
        (of("report", denoiser={"depth": 5}), {"stage2/report"}),
        (of("report", null_prompt_probability=0.5), {"stage2/report"}),
        (of("report", environment_depth=2), {"stage3"}),
        (of("report", autoencoder={"hidden_dim": 64}), {"autoencoder/report", *STAGE2, "stage3"}),
        (of("report", encoder={"layers": 2}), {"stage1", *STAGE2, "stage3"}),
        (
            of("frontal", guidance_scale=9.0, gate=1.0, view="AP", guidance_interval=[0.1, 0.9]),
            set(),
        ),
        ({"evaluation": {"seed": 3}, "data": {"cache_batch": 8}}, set()),
    ],
)
def test_a_stage_is_keyed_by_its_own_parts_only(tiny_run, tmp_path, changes, changed):
    recipe = tiny_recipe(tmp_path, **changes)
    recipe.output_dir, recipe.data.prepared = tiny_run.output_dir, tiny_run.data.prepared
    before, after = Run(tiny_run), Run(recipe)
    assert {n for n, parts in PARTS.items() if parts(before) != parts(after)} == changed


def test_with_prompt_latents_stage_2_is_keyed_by_the_encoders_of_its_prompts(tiny_run, tmp_path):
    parts = []
    for depth in (1, 2):
        changes = of("report", environment_depth=depth)
        recipe = tiny_recipe(tmp_path, diffusion={"prompt_latents": True}, **changes)
        recipe.output_dir, recipe.data.prepared = tiny_run.output_dir, tiny_run.data.prepared
        parts.append({n: of_stage2(Run(recipe), n) for n in ("frontal", "report")})
    assert parts[0]["frontal"] != parts[1]["frontal"]
    assert parts[0]["report"] == parts[1]["report"]  # its own is not among its prompts


def test_what_other_stages_read_leaves_a_finished_stage_2(tiny_run, tmp_path, caplog):
    recipe = copy_run(
        tiny_run,
        tmp_path,
        diffusion={"clean_probability": 0.9},
        stage2={"modality": "frontal"},
        **of("report", denoiser={"depth": 5}),
    )
    with caplog.at_level(logging.INFO):
        train_stage(recipe, "stage2")
    assert "stage2/frontal is complete" in caplog.text


def test_refused_checkpoint_names_the_part_that_it_was_built_on(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path)
    interrupted(recipe, "stage2")
    recipe.diffusion.shift = 2.0
    recipe.modalities["tabular"]["denoiser"]["depth"] = 5
    match = (
        r"built_on\.denoiser\.denoiser\.depth is 3 there, 5 here; built_on\.diffusion\.shift is 1"
    )
    with pytest.raises(ValueError, match=match):
        train_stage(recipe, "stage2")
