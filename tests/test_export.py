"""What the model card of an assembled pipeline tells."""

import json

import pytest

from medcodi.export import facts_of
from medcodi.pipeline.index import read_index
from tests.tiny import copy_run


def test_the_card_tells_data_commit_and_hours(tiny_run):
    facts = facts_of(tiny_run)
    folder = tiny_run.run_dir / "pipeline"
    assert read_index(folder).facts == facts
    card = (folder / "README.md").read_text()
    assert facts.data in card and "clinical" not in facts.data
    assert "studies; identity" in facts.data and str(tiny_run.data.prepared) not in card
    environment = json.loads((tiny_run.run_dir / "stage1" / "environment.json").read_text())
    assert facts.commit == (environment["git_commit"] or "")
    assert {"stage1", "stage2/frontal", "stage3"} < set(facts.hours)
    assert all(0 < h < 1 for h in facts.hours.values())


@pytest.mark.parametrize("prepared", ["gone", ""])
def test_without_its_data_a_pipeline_is_assembled_all_the_same(tiny_run, tmp_path, prepared):
    recipe = copy_run(tiny_run, tmp_path)
    recipe.data.prepared = prepared and str(tmp_path / prepared)
    assert facts_of(recipe).data == ""
