"""Exports: complete, or not there."""

import errno
import logging
import os
from pathlib import Path

import pytest

from medcodi.nn.weights import WEIGHTS
from medcodi.training.checkpoint import CheckpointError
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from tests.tiny import copy_run
from tests.training.parts import (
    Hooked,
    fit_stage2,
    stage2_recipe,
)


def test_finished_stage_is_skipped(tiny_run, tmp_path, caplog):
    recipe = copy_run(tiny_run, tmp_path)
    files = sorted(p for p in recipe.run_dir.glob("*/**/*") if p.is_file())
    before = {p: p.stat().st_mtime_ns for p in files}
    with caplog.at_level(logging.INFO):
        for stage in ("autoencoder", "stage1", "stage2", "stage3"):
            train_stage(recipe, stage)
    assert caplog.text.count("is complete") == 3 + 1 + 4 + 1
    assert {p: p.stat().st_mtime_ns for p in files} == before


def test_full_disk_while_exporting(tiny_run, tmp_path, little_disk):
    recipe = stage2_recipe(tiny_run, tmp_path, num_steps=4, checkpoint_every=3)
    folder = recipe.run_dir / "stage2" / "tabular"
    with pytest.raises(CheckpointError, match=r"could not write .*export.*the disk is full"):
        fit_stage2(recipe, Hooked(Run(recipe), "tabular", 4, little_disk))
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["checkpoints"]


def test_done_that_a_full_disk_emptied_is_absent(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path)
    train_stage(recipe, "stage2")
    done = recipe.run_dir / "stage2" / "tabular" / "export" / "done.json"
    whole = done.read_text()
    for text in ("", "[]", "{}", whole[:-3]):
        done.write_text(text)
        train_stage(recipe, "stage2")
        assert done.read_text() == whole
    assert {p.name for p in done.parent.iterdir()} == {"done.json", WEIGHTS, "config.json"}


def test_done_is_written_last(tiny_run, tmp_path, monkeypatch):
    recipe = stage2_recipe(tiny_run, tmp_path)
    replace = os.replace

    def full(source, target):
        if Path(target).name == "done.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(CheckpointError, match=r"could not write .*export.*the disk is full"):
            train_stage(recipe, "stage2")
    assert not (recipe.run_dir / "stage2" / "tabular" / "export" / "done.json").exists()
