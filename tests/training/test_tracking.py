"""What a run leaves behind while it trains."""

import json

import torch

from medcodi.training.tasks import train_stage
from medcodi.training.tracking import environment, read_metrics
from tests.training.parts import stage2_recipe


def test_run_folder_tells_what_was_run(tiny_run):
    folder = tiny_run.run_dir / "stage2" / "frontal"
    described = json.loads((folder / "environment.json").read_text())
    assert {"python", "packages", "git_commit", "device", "num_processes"} <= described.keys()
    assert (folder / "config.yaml").is_file()
    *rows, last = read_metrics(folder / "metrics.jsonl")
    assert last["split"] == "final"
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all({"loss", "lr", "sec_per_step", "split"} <= row.keys() for row in rows)


def test_git_is_not_needed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment(torch.device("cpu"), 1)["git_commit"] is None


def test_previews_are_drawn(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, preview_every=6, validate_every=3)
    train_stage(recipe, "stage2")
    folder = recipe.run_dir / "stage2" / "tabular"
    assert [p.name for p in (folder / "previews").iterdir()] == ["step_6.png"]
    splits = [(row["step"], row["split"]) for row in read_metrics(folder / "metrics.jsonl")]
    assert splits.count((3, "validation")) == splits.count((6, "validation")) == 1
