"""The curve over epsilon on tiny data: public, private and not private, and a second call that
trains nothing."""

import json
import math

import pytest

import medcodi.bench.privacy_curve as curve
from medcodi.bench.commands.privacy_curve import main
from medcodi.bench.privacy_curve import COLUMNS, NO_DP
from tests.tiny import prepare_tiny, tiny_recipe, write_recipe

pytest.importorskip("opacus")
DELTA = 5e-3


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Of other data than the tiny run's."""
    folder = tmp_path_factory.mktemp("private")
    prepare_tiny(folder / "prepared", 150)
    optim = {"name": "adamw", "lr": 1e-3}
    return tiny_recipe(folder, name="curve", stage2={"ema_decay": 0.5, "optim": optim})


@pytest.fixture(scope="module")
def written(recipe, tiny_run, tiny_prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("curve")
    arguments = ["--config", str(write_recipe(recipe, folder / "recipe.yaml"))]
    arguments += ["--public", str(tiny_run.run_dir / "pipeline")]
    arguments += ["--public-data", str(tiny_prepared), "--output", str(folder)]
    arguments += ["--epsilons", "8,inf", "--delta", str(DELTA), "--count", "40"]
    main(arguments)
    return folder, arguments


def test_a_row_for_each_budget(written):
    folder, _ = written
    told = json.loads((folder / "privacy_curve.json").read_text())
    assert told["delta"] == DELTA and told["unit"] == "patient"
    public, private, free = told["rows"]
    assert public["epsilon"] == 0 and "steps" not in public
    assert 0 < private["epsilon"] <= 8 and private["noise"] > 0
    assert free["epsilon"] is None and free["noise"] == 0  # infinity has no JSON
    assert private["steps"] == free["steps"] == 3
    for row in told["rows"]:
        assert {"held-out loss", "membership", "shape", "trend", "utility"} <= set(row)
        assert math.isfinite(row["held-out loss"]) and 0 <= row["membership"]["value"] <= 1
    losses = [row["held-out loss"] for row in told["rows"]]
    assert len(set(losses)) == 3  # three different denoisers were measured
    lines = (folder / "privacy_curve.md").read_text().splitlines()
    assert lines[0] == "| " + " | ".join(COLUMNS) + " |" and len(lines) == 5


def test_the_same_call_again_trains_nothing(written, monkeypatch):
    folder, arguments = written
    before = json.loads((folder / "privacy_curve.json").read_text())
    monkeypatch.setattr(curve, "_train", None)
    main(arguments)
    assert json.loads((folder / "privacy_curve.json").read_text()) == before


def test_infinity_is_training_without_dp():
    assert curve._private(NO_DP, DELTA, "patient") is None
    config = curve._private(3.0, DELTA, "sample")
    assert (config.epsilon, config.delta, config.unit) == (3.0, DELTA, "sample")
