"""What stands in a folder of runs, read from what training wrote."""

import json

import pytest

from medcodi.training.overview import hours, list_stages
from tests.tiny import copy_run
from tests.training.parts import interrupted, stage2_recipe


def test_all_stages_of_a_finished_run(tiny_run):
    stages = {stage.label: stage for stage in list_stages(tiny_run.run_dir.parent)}
    assert set(stages) == {
        "autoencoder/radiograph",
        "autoencoder/report",
        "autoencoder/tabular",
        "stage1",
        "stage2/frontal",
        "stage2/lateral",
        "stage2/report",
        "stage2/tabular",
        "stage3",
    }
    for stage in stages.values():
        assert (stage.step, stage.num_steps, stage.done) == (3, 3, True)
        assert stage.run == tiny_run.run_dir
        assert stage.seconds_left == 0.0
        assert stage.losses["train"] > 0
    assert [s.label for s in list_stages(tiny_run.run_dir / "stage1")] == ["stage1"]


def test_a_stopped_stage_tells_step_and_time_left(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, per_modality={"tabular": {"num_steps": 8}})
    interrupted(recipe, "stage2")
    (state,) = (s for s in list_stages(tmp_path) if s.label == "stage2/tabular")
    assert (state.step, state.num_steps, state.done) == (3, 8, False)
    assert state.seconds_left == pytest.approx(5 * state.sec_per_step)


def test_hours_are_those_of_the_steps(tmp_path):
    rows = [
        {"step": 10, "split": "train", "sec_per_step": 36.0},
        {"step": 10, "split": "validation"},
        {"step": 30, "split": "train", "sec_per_step": 72.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert hours(tmp_path) == pytest.approx((10 * 36 + 20 * 72) / 3600)


def test_a_damaged_run_is_listed_with_its_problem(tiny_run, tmp_path):
    recipe = copy_run(tiny_run, tmp_path)
    (recipe.run_dir / "stage1" / "config.yaml").write_text("modalities: [")
    states = {s.label: s for s in list_stages(tmp_path)}
    assert "not readable YAML" in states["stage1"].problem
    assert states["stage3"].done
    with pytest.raises(FileNotFoundError, match="is no folder"):
        list_stages(tmp_path / "absent")
