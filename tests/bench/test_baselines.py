"""The comparison of systems on the tiny run: every column, a second run that trains nothing."""

import csv
import json

import pytest

from medcodi.baselines.base import ImageBaseline
from medcodi.bench.baselines import COLUMNS, FINDINGS, WORTH, Budget, Comparison
from medcodi.bench.commands.baselines import main
from tests.evaluation.parts import context_of
from tests.tiny import prepare_tiny, tiny_recipe, write_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Of 150 prepared studies; nothing is trained."""
    folder = tmp_path_factory.mktemp("data")
    prepare_tiny(folder / "prepared", 150)
    return tiny_recipe(folder)


@pytest.fixture(scope="module")
def written(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("baselines")
    path = write_recipe(recipe, folder / "recipe.yaml")
    arguments = ["--config", str(path), "--output", str(folder), "--steps", "2"]
    arguments += ["--batch-size", "4", "--num-studies", "16"]
    arguments += ["--num-worth", "40", "evaluation.network_steps=8"]
    main(["evaluation.num_resamples=20", *arguments, "--systems", "dcgan,pix2pix"])
    return folder


def test_every_system_has_a_row(written):
    told = json.loads((written / "baselines.json").read_text())
    rows = {row["system"]: row["cells"] for row in told["rows"]}
    assert list(rows) == ["real images of training studies", "DCGAN", "Pix2Pix"]
    assert set(rows["Pix2Pix"]) == set(COLUMNS)
    # without labels, nobody can say what its images show
    assert set(COLUMNS) - set(rows["DCGAN"]) == {FINDINGS, WORTH}
    assert rows["DCGAN"]["steps"] == 2 and rows["DCGAN"]["parameters"] > 0
    for name in ("baselines.png", "baselines_pixels.png"):
        assert (written / name).stat().st_size > 1000
    with (written / "baselines.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["system"] for line in lines] == list(rows)
    assert float(lines[1]["MSE low"]) <= float(lines[1]["MSE"]) <= float(lines[1]["MSE high"])
    text = (written / "baselines.md").read_text()
    assert "Packhaeuser (ChestX-ray14), trained on PGGAN" in text and "| DCGAN |" in text


def test_what_is_trained_is_read(recipe, tmp_path, monkeypatch):
    context = context_of(recipe, tmp_path, num_studies=16)
    budget = Budget(num_steps=2, batch_size=4)
    first = Comparison(context, budget)._trained("beta_vae")[1]
    monkeypatch.setattr(ImageBaseline, "fit", None)
    assert Comparison(context, budget)._trained("beta_vae")[1] == first


def test_the_budget_is_seconds(recipe, tmp_path):
    context = context_of(recipe, tmp_path, num_studies=16)
    comparison = Comparison(context, Budget(seconds=0.5, batch_size=4))
    cost = comparison._trained("autoencoder")[1]
    assert cost["steps"] > 1 and 0.05 < cost["CPU s of training"] < 5
    assert comparison._trained("pca")[1]["steps"] == 0


def test_a_pipeline_stands_beside_them(recipe, tiny_run, tmp_path):
    context = context_of(recipe, tmp_path, tiny_run.run_dir / "pipeline", num_studies=16)
    _, ours = Comparison(context, Budget(), num_worth=20).rows([])
    assert (ours.system, ours.kind) == ("MedCoDi-M T>F", "ours")
    assert {FINDINGS, WORTH, "MSE", "called copies", "parameters"} <= set(ours.cells)


def test_unknown_systems_and_too_few_studies(recipe, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--systems", "dcgam"])
    assert "unknown key 'dcgam'" in capsys.readouterr().err
    with pytest.raises(ValueError, match="20 training and 20 held-out studies or more"):
        Comparison(context_of(recipe, tmp_path, num_studies=2), Budget())
