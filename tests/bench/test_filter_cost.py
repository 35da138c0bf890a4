"""The filter beside no filter: copies are refused, both sides have every figure."""

import json

import numpy as np
import pytest

from medcodi.bench.baselines import FINDINGS, WORTH
from medcodi.bench.commands.filter import main
from medcodi.bench.filter_cost import KEPT, REFUSED, cropped, filter_rows
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.privacy.filter import PrivacyFilter
from tests.evaluation.parts import context_of
from tests.tiny import prepare_tiny, tiny_recipe, write_recipe

FEW = FitSettings("tiny", num_epochs=1, min_steps=20, batch_size=16)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare_tiny(folder / "prepared", 150)
    return tiny_recipe(folder)


def test_both_sides_are_measured(recipe, tiny_run, tiny_prepared, tmp_path):
    privacy = PrivacyFilter.fit(tiny_prepared, ["frontal"], 0.1, settings=FEW)
    privacy.guards["frontal"].threshold = 0.999  # a tiny filter knows little: only copies go
    privacy.save(tmp_path / "filter")
    path = write_recipe(recipe, tmp_path / "recipe.yaml")
    options = ["evaluation.num_resamples=20", "evaluation.num_inference_steps=1"]
    options += ["evaluation.network_steps=4", "--config", str(path), "--output", str(tmp_path)]
    options += ["--pipeline", str(tiny_run.run_dir / "pipeline"), "--num-studies", "12"]
    main([*options, "--filter", str(tmp_path / "filter"), "--planted", "10", "--num-worth", "20"])
    told = json.loads((tmp_path / "filter.json").read_text())
    assert told["planted"][0]["set"] == "exact copy"
    assert all(0 <= row[REFUSED]["value"] <= 1 for row in told["planted"])
    without, with_filter = (row["cells"] for row in told["rows"])
    assert {FINDINGS, WORTH, "recall", "distance ratio"} <= set(without)
    assert set(with_filter) - set(without) == {KEPT}
    text = (tmp_path / "filter.md").read_text()
    assert "| figure | without the filter | with the filter |" in text


def test_a_pipeline_is_needed(recipe, tmp_path):
    context = context_of(recipe, tmp_path)
    with pytest.raises(ValueError, match="there is no pipeline in"):
        filter_rows(context, None, 10)


def test_a_crop_keeps_the_size():
    images = np.random.default_rng(0).random((2, 32, 32)).astype(np.float32)
    images[:, :2] = images[:, -2:] = 0
    assert cropped(images).shape == images.shape
    assert cropped(images)[:, 0].max() > 0
