"""Checkpoints: rotation, leftovers of a kill, and damage that is named instead of trained on."""

import hashlib
import json
import os
import signal

import pytest
import torch

from medcodi.training.checkpoint import CheckpointError, checkpoints, save_checkpoint
from medcodi.training.interrupt import TrainingInterrupted
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from tests.training.parts import Hooked, fit_stage2, losses, stage2_recipe


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


DAMAGE = {
    "a flipped bit": ("state.pt", lambda data: data[:999] + bytes([data[999] ^ 1]) + data[1000:]),
    "cut short": ("state.pt", lambda data: data[: len(data) // 2]),
    "a flipped bit of the step": (
        "meta.json",
        lambda data: data.replace(b'"step": 4', b'"step": 5'),
    ),
    "a flipped bit of a key": ("meta.json", lambda data: data.replace(b'"step"', b'"stdp"')),
    "no text": ("meta.json", lambda data: b"\xff" + data),
    "no JSON": ("meta.json", lambda data: data[: len(data) // 2]),
    "a list": ("meta.json", lambda data: b"[" + data + b"]"),
    "nothing": ("meta.json", lambda data: b""),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoint_is_named(stopped, damage):
    recipe, (_, newest) = stopped
    name, change = DAMAGE[damage]
    before = (newest / name).read_bytes()
    (newest / name).write_bytes(change(before))
    assert (newest / name).read_bytes() != before
    match = rf"step_4/{name} is damaged .*remove .*step_4 to resume from step_2"
    with pytest.raises(CheckpointError, match=match):
        train_stage(recipe, "stage2")


@pytest.mark.parametrize("name", ["state.pt", "meta.json"])
def test_a_checkpoint_without_one_of_its_files_is_named(stopped, name):
    recipe, (_, newest) = stopped
    (newest / name).unlink()
    with pytest.raises(CheckpointError, match=f"step_4/{name} is damaged"):
        train_stage(recipe, "stage2")


def test_a_checkpoint_in_the_folder_of_another_step_is_named(stopped):
    """The step decides the learning rate and the data order: it is not trusted."""
    recipe, (_, newest) = stopped
    newest.rename(newest.with_name("step_5"))
    with pytest.raises(CheckpointError, match=r"step_5/meta.json is damaged \(it is of step 4\)"):
        train_stage(recipe, "stage2")


@pytest.mark.parametrize("name", ["step_abc", "step_04", "step_", "step_-1"])
def test_a_folder_that_is_named_like_a_checkpoint_is_named(stopped, name):
    recipe, (_, newest) = stopped
    newest.with_name(name).mkdir()
    with pytest.raises(
        CheckpointError, match=f"{name} is no checkpoint: expected folders step_NUMBER"
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


def test_unfinished_checkpoint_is_not_resumed(stopped):
    """What a kill leaves while a checkpoint is written has a temporary name."""
    recipe, (_, newest) = stopped
    os.replace(newest, newest.with_name(".tmp-host-1-step_5"))
    train_stage(recipe, "stage2")
    assert [step for step, _ in losses(recipe, "stage2/tabular")] == [1, 2, 3, 4, 5, 6]
