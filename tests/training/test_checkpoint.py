"""Checkpoints: rotation, leftovers of a kill, and damage that is named instead of trained on."""

import hashlib
import json
import os
import signal

import pytest
import torch

from medcodi.training.checkpoint import CheckpointError, checkpoints, save_checkpoint
from medcodi.training.loop import TrainingInterrupted
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from tests.training.test_loop import Hooked, fit_stage2, losses, stage2_recipe


def test_rotation_keeps_the_newest(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, checkpoint_every=1, checkpoints_kept=2)
    train_stage(recipe, "stage2")
    folder = recipe.run_dir / "stage2" / "tabular" / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["step_4", "step_5"]


@pytest.fixture
def stopped(tiny_run, tmp_path):
    """A run with the checkpoints step_2 and step_4."""
    recipe = stage2_recipe(tiny_run, tmp_path, checkpoint_every=2)
    with pytest.raises(TrainingInterrupted):
        fit_stage2(
            recipe, Hooked(Run(recipe), "tabular", 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        )
    return recipe, checkpoints(recipe.run_dir / "stage2" / "tabular" / "checkpoints")


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "meta"])
def test_damaged_checkpoint_is_named(stopped, damage):
    recipe, (_, newest) = stopped
    path = newest / ("meta.json" if damage == "meta" else "state.pt")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage in ("cut", "meta") else data)
    with pytest.raises(
        CheckpointError, match=rf"step_4/{path.name} is damaged .*step_4 to resume from step_2"
    ):
        train_stage(recipe, "stage2")


def test_an_error_that_is_no_failed_write_passes_as_it_is(tmp_path, monkeypatch):
    """torch raises one for a worker process that died, wherever the training process is."""
    folder, state = tmp_path / "checkpoints", {"model": {"weight": torch.ones(1000)}}
    save_checkpoint(folder, 1, {"fingerprint": "a"}, state, 2)

    def died(self, data):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    monkeypatch.setattr("medcodi.training.checkpoint._Hashed.write", died)
    with pytest.raises(RuntimeError) as raised:
        save_checkpoint(folder, 2, {"fingerprint": "a"}, state, 2)
    assert not isinstance(raised.value, CheckpointError)
    assert [p.name for p in folder.iterdir()] == ["step_1"]


def test_digest_is_that_of_the_file(stopped):
    for path in stopped[1]:
        digest = hashlib.sha256((path / "state.pt").read_bytes()).hexdigest()
        assert json.loads((path / "meta.json").read_text())["sha256"] == digest


def test_checkpoint_from_before_the_check_still_resumes(stopped):
    recipe, (_, newest) = stopped
    meta = json.loads((newest / "meta.json").read_text())
    del meta["sha256"]
    (newest / "meta.json").write_text(json.dumps(meta))
    train_stage(recipe, "stage2")
    assert [step for step, _ in losses(recipe, "stage2/tabular")] == [1, 2, 3, 4, 5, 6]


def test_unfinished_checkpoint_is_not_resumed(stopped):
    """What a kill leaves while a checkpoint is written has a temporary name."""
    recipe, (_, newest) = stopped
    os.replace(newest, newest.with_name(".tmp-host-1-step_5"))
    train_stage(recipe, "stage2")
    assert [step for step, _ in losses(recipe, "stage2/tabular")] == [1, 2, 3, 4, 5, 6]
