"""The quickstart on a tiny pipeline, from its weights to its page."""

import json

import pytest
from rich.console import Console

from medcodi.config import STAGES
from medcodi.config_io import load_recipe
from medcodi.quickstart.run import GENTLE, STEPS, run_quickstart, shortened
from medcodi.training.tracking import read_metrics
from tests.tiny import SIZE, write_recipe


@pytest.fixture
def config(tiny_run, tmp_path):
    return write_recipe(tiny_run, tmp_path / "recipe.yaml")


def test_a_short_training_is_gentle(config):
    recipe = load_recipe(config, ["autoencoder.per_modality={report: {optim: {lr: 2e-3}}}"])
    before = recipe.autoencoder.optim.lr
    short = shortened(recipe)
    assert {stage: getattr(short, stage).num_steps for stage in STAGES} == STEPS
    assert short.autoencoder.optim.lr == pytest.approx(GENTLE * before)
    own = short.autoencoder.per_modality["report"]
    assert own["num_steps"] == STEPS["autoencoder"]
    assert own["optim"]["lr"] == pytest.approx(GENTLE * 2e-3)


@pytest.mark.slow
def test_it_measures_and_trains_on(tiny_run, config, tmp_path):
    """Every stage starts from the pipeline, its loss is logged, and the page shows it."""
    phantom = f"data.phantom={{num_studies: 40, size: {SIZE}, seed: 0}}"
    overrides = [phantom, f"output_dir={tmp_path}", "evaluation.num_inference_steps=2"]
    pipeline = str(tiny_run.run_dir / "pipeline")
    page = run_quickstart(pipeline, config, overrides, 8, Console(quiet=True))
    assert page == tmp_path / "quickstart" / "index.html" and page.stat().st_size > 50_000
    for stage, folder in {"stage1": "stage1", "stage2": "stage2/frontal"}.items():
        rows = read_metrics(page.parent / folder / "metrics.jsonl")
        assert max(row["step"] for row in rows) == STEPS[stage]
        started = json.loads((page.parent / folder / "started_from.json").read_text())
        assert list(started) == [pipeline]
