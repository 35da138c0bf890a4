"""Trackers get what metrics.jsonl gets, and a resumed stage goes on in its run."""

import json
import sys
import time

import pytest

from medcodi.config_io import recipe_from_dict, to_dict
from medcodi.training.tasks import train_stage
from medcodi.training.trackers import RUNS, Trackers, check_trackers
from medcodi.training.tracking import read_metrics
from tests.training.parts import interrupted, stage2_recipe

LABEL = "stage2/tabular"


@pytest.fixture
def recipe(tiny_run, tmp_path, monkeypatch):
    """A stage 2 of six steps that two trackers follow; stopped in its third step, then resumed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = stage2_recipe(tiny_run, tmp_path, preview_every=6, validate_every=3)
    recipe.tracking = ["tensorboard", "mlflow"]
    interrupted(recipe, "stage2")
    train_stage(recipe, "stage2")
    return recipe


def expected(recipe):
    """{name: {step: value}} of metrics.jsonl."""
    found = {}
    for row in read_metrics(recipe.run_dir / LABEL / "metrics.jsonl"):
        for name in ("loss", "lr"):
            if name in row:
                found.setdefault(f"{row['split']}/{name}", {})[row["step"]] = row[name]
    return found


def test_losses_previews_and_recipe_are_in_both(recipe):
    folder = recipe.run_dir / "tracking"
    wanted = expected(recipe)
    assert set(wanted["train/loss"]) == {1, 2, 3, 4, 5, 6}

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard" / LABEL))
    events.Reload()
    for name, values in wanted.items():
        told = {e.step: e.value for e in events.Scalars(name)}
        assert told == pytest.approx(values), name
    assert [image.step for image in events.Images("preview")] == [6]
    assert b"num_steps" in events.Tensors("recipe/text_summary")[0].tensor_proto.string_val[0]

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(recipe.name)
    (run,) = client.search_runs([experiment.experiment_id])  # resumed: one run, not two
    assert run.info.run_name == LABEL
    for name, values in wanted.items():
        told = {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
        assert told == pytest.approx(values), name
    assert run.data.params["stage2.num_steps"] == "6"
    previews = client.list_artifacts(run.info.run_id, "previews")
    assert [x.path for x in previews] == ["previews/step_6.png"]


def test_wandb_offline(tiny_run, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = stage2_recipe(tiny_run, tmp_path, num_steps=2)
    recipe.tracking = ["wandb"]
    train_stage(recipe, "stage2")
    (path,) = (recipe.run_dir / "tracking" / "wandb").glob("offline-run-*/run-*.wandb")
    run = json.loads((recipe.run_dir / LABEL / RUNS).read_text())["wandb"]
    assert run in path.name
    assert wandb.run is None  # finished
    deadline = time.monotonic() + 60  # a process of wandb's own writes the file
    while b"train/loss" not in path.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert b"train/loss" in path.read_bytes()


def test_a_tracker_that_fails_is_left_out_and_training_goes_on(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nosuch://store")
    recipe = stage2_recipe(tiny_run, tmp_path, num_steps=2)
    recipe.tracking = ["mlflow"]
    train_stage(recipe, "stage2")
    assert len(read_metrics(recipe.run_dir / LABEL / "metrics.jsonl")) == 3
    trackers = Trackers(recipe, LABEL, 0)
    assert trackers.open == {}


def test_an_unknown_and_a_missing_tracker_are_named(tiny_run, monkeypatch):
    values = {**to_dict(tiny_run), "tracking": ["tensorbord"]}
    with pytest.raises(ValueError, match=r"'tensorbord'.*did you mean 'tensorboard'"):
        recipe_from_dict(values)
    recipe = recipe_from_dict({**values, "tracking": ["wandb"]})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"tracking: wandb needs wandb: pip install"):
        check_trackers(recipe)
