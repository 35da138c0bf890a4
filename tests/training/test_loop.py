"""The training loop: exact resume, the same numbers twice, frozen weights, and what stops a run."""

import os
import signal
import subprocess
import time
import traceback
from pathlib import Path

import pytest
import torch

from medcodi.nn.precision import has_bf16
from medcodi.training.checkpoint import CheckpointError, checkpoints
from medcodi.training.interrupt import TrainingInterrupted
from medcodi.training.loop import NonFiniteLossError
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from tests.tiny import copy_run
from tests.training.parts import (
    Hooked,
    assert_same_weights,
    exported,
    fit_stage2,
    losses,
    stage2_recipe,
)

REPOSITORY = Path(__file__).parents[2]


def test_same_seed_same_losses_bit_for_bit(tiny_run, tmp_path):
    recipes = [stage2_recipe(tiny_run, tmp_path / folder, ema_decay=0.9) for folder in ("a", "b")]
    recipes.append(stage2_recipe(tiny_run, tmp_path / "other", ema_decay=0.9, optim={"lr": 2e-3}))
    for recipe in recipes:
        train_stage(recipe, "stage2")
    first, second, other = (losses(recipe, "stage2/tabular") for recipe in recipes)
    assert len(first) == 6 and first == second
    assert (
        first[0] == other[0] and first[2:] != other[2:]
    )  # the learning rate acts from the first update on
    assert_same_weights(*(exported(recipe, "stage2/tabular") for recipe in recipes[:2]))


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_equals_uninterrupted(tiny_run, tmp_path, signal_number):
    settings = {"ema_decay": 0.9, "validate_every": 2, "checkpoint_every": 3}
    whole, broken = (
        stage2_recipe(tiny_run, tmp_path / folder, **settings) for folder in ("whole", "broken")
    )
    train_stage(whole, "stage2")
    handler = signal.getsignal(signal_number)
    task = Hooked(Run(broken), "tabular", at=4, hook=lambda: os.kill(os.getpid(), signal_number))
    with pytest.raises(
        TrainingInterrupted, match="stage2/tabular stopped at step 4; rerun the same command"
    ):
        fit_stage2(broken, task)
    assert signal.getsignal(signal_number) is handler
    folder = broken.run_dir / "stage2" / "tabular"
    assert [p.name for p in checkpoints(folder / "checkpoints")] == ["step_3", "step_4"]
    assert not (folder / "export").exists()
    train_stage(broken, "stage2")
    assert_same_weights(exported(whole, "stage2/tabular"), exported(broken, "stage2/tabular"))
    assert losses(whole, "stage2/tabular") == losses(
        broken, "stage2/tabular"
    )  # no step twice, none left out


@pytest.mark.parametrize("stage", ["autoencoder", "stage1", "stage3"])
def test_every_stage_resumes_after_a_kill(tiny_run, tmp_path, stage, monkeypatch):
    """A kill -9 leaves the last checkpoint (and rows in metrics.jsonl after it)."""
    settings = {
        "modality": "report" if stage == "autoencoder" else None,
        "num_steps": 6,
        "checkpoint_every": 2,
    }
    whole, broken = (
        copy_run(tiny_run, tmp_path / folder, without=(stage, "pipeline"), **{stage: settings})
        for folder in ("whole", "broken")
    )
    train_stage(whole, stage)
    label = "autoencoder/report" if stage == "autoencoder" else stage
    process = os.fork()
    if process == 0:  # dies in step 6, before its checkpoint, as under kill -9
        monkeypatch.setattr(
            "medcodi.training.loop.EMA.update", lambda self, step: step == 6 and os._exit(9)
        )
        try:
            train_stage(broken, stage)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    assert [p.name for p in checkpoints(broken.run_dir / label / "checkpoints")] == [
        "step_2",
        "step_4",
    ]
    assert losses(broken, label)[-1][0] == 5
    with open(broken.run_dir / label / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "spl')  # a row that the kill cut short
    train_stage(broken, stage)
    assert_same_weights(exported(whole, label), exported(broken, label))
    assert losses(whole, label) == losses(broken, label)


def test_a_signal_to_the_whole_group_lets_the_readers_live(tiny_run, tmp_path):
    """As a scheduler, a terminal or torchrun sends it: worker processes that died of it would fail
    the checkpoint."""
    recipe = stage2_recipe(tiny_run, tmp_path)
    recipe.data.num_workers = 2

    def signal_group():
        subprocess.run(
            ["kill", "-TERM", "--", f"-{os.getpgrp()}"], start_new_session=True, check=True
        )
        time.sleep(0.3)  # readers that the signal ends are gone by then

    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.setsid()
            with pytest.raises(TrainingInterrupted, match="stopped at step 3"):
                fit_stage2(recipe, Hooked(Run(recipe), "tabular", 3, signal_group))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert [p.name for p in checkpoints(recipe.run_dir / "stage2" / "tabular" / "checkpoints")] == [
        "step_3"
    ]
    recipe.data.num_workers = 0
    train_stage(recipe, "stage2")
    assert [step for step, _ in losses(recipe, "stage2/tabular")] == [1, 2, 3, 4, 5, 6]


def test_non_finite_loss_names_stage_and_step(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, checkpoint_every=2)

    def poison():
        with torch.no_grad():
            next(task.diffusion.denoiser.parameters()).fill_(float("nan"))

    task = Hooked(Run(recipe), "tabular", 4, poison)
    with pytest.raises(NonFiniteLossError, match=r"stage2/tabular, step 4: losses \{'loss': nan"):
        fit_stage2(recipe, task)
    assert [p.name for p in checkpoints(recipe.run_dir / "stage2" / "tabular" / "checkpoints")] == [
        "step_2"
    ]
    train_stage(recipe, "stage2")  # the last checkpoint is sound
    assert all(torch.isfinite(x).all() for x in exported(recipe, "stage2/tabular").values())


def test_full_disk_keeps_the_last_checkpoint(tiny_run, tmp_path, little_disk):
    recipe = stage2_recipe(tiny_run, tmp_path, checkpoint_every=2)
    folder = recipe.run_dir / "stage2" / "tabular" / "checkpoints"
    match = r"step_4: the disk is full .*The last good checkpoint is step_2; free space"
    with pytest.raises(CheckpointError, match=match):
        fit_stage2(recipe, Hooked(Run(recipe), "tabular", 3, little_disk))
    assert [p.name for p in folder.iterdir()] == ["step_2"]
    assert torch.load(folder / "step_2" / "state.pt", weights_only=True)["model"]


@pytest.mark.parametrize("name", ["frontal", "report"])
def test_accumulation_equals_one_batch(tiny_run, tmp_path, name):
    weights = []
    for accumulation in (1, 2):
        recipe = stage2_recipe(
            tiny_run, tmp_path / str(accumulation), name, gradient_accumulation_steps=accumulation
        )
        train_stage(recipe, "stage2")
        weights.append(exported(recipe, f"stage2/{name}"))
    for key in weights[
        0
    ]:  # Adam turns the rounding of a gradient near zero into a part of a step, for single numbers
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-4, atol=1e-4, msg=key)
    differences = torch.cat([(weights[0][key] - weights[1][key]).flatten() for key in weights[0]])
    assert differences.abs().mean() < 1e-6


def test_stages_of_one_process_may_differ_in_precision(tiny_run, tmp_path):
    found = {}
    for precision in ("bf16", "no", "auto"):
        recipe = stage2_recipe(tiny_run, tmp_path / precision, mixed_precision=precision)
        train_stage(recipe, "stage2")
        found[precision] = losses(recipe, "stage2/tabular")
        assert all(torch.isfinite(torch.tensor(loss)) for _, loss in found[precision])
    assert found["bf16"] != found["no"]
    assert found["auto"] == found["bf16" if has_bf16(torch.device("cpu")) else "no"]


def test_batch_that_does_not_divide_is_refused(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, batch_size=7, gradient_accumulation_steps=2)
    with pytest.raises(
        ValueError, match=r"batch_size 7 \(global\) is not divisible by 1 processes x 2"
    ):
        train_stage(recipe, "stage2")
