"""Adapters beside their base and a denoiser from scratch, on a darker site."""

import numpy as np
import pytest

from medcodi.bench.adapters import BASE, BEFORE, SITE, adapters_gain, cells, render
from medcodi.config_io import load_recipe, save_yaml
from medcodi.data.prepared import PreparedDataset

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return render(tmp_path_factory.mktemp("sites"), 16, 60, 40)


def studies(folder):
    return [
        s for split in ("train", "validation", "test") for s in PreparedDataset.load(folder, split)
    ]


def test_the_site_is_darker_and_has_more_effusions(data):
    site, before = studies(data[SITE]), studies(data[BEFORE])
    assert len(site) < len(before) == 40

    def ill(group):
        return np.mean([s.truth["effusion_left"] + s.truth["effusion_right"] > 0 for s in group])

    def grey(group):
        return np.mean([s.values["frontal"].mean() for s in group if "frontal" in s.values])

    assert ill(site) > ill(before) and grey(site) < grey(before)


def test_every_system_is_judged_on_both_sites(data, tiny_run, tmp_path):
    stage = {"num_steps": 3, "batch_size": 8, "optim": {"lr": 0.02, "warmup_steps": 1}}
    values = {
        "name": "adapted",
        "output_dir": str(tmp_path),
        "adapters": {"base": str(tiny_run.run_dir / "pipeline"), "rank": 2},
        "stage2": stage,
    }
    save_yaml(values, tmp_path / "recipe.yaml")
    recipe = load_recipe(tmp_path / "recipe.yaml")
    rows = adapters_gain(recipe, "frontal", data, num_resamples=20)
    assert [row["site"] for row in rows] == [SITE] * 3 + [BEFORE] * 3
    for row in rows:
        same = row["system"] == BASE
        assert (row["difference"]["value"] == 0) == same
        assert row["loss"]["interval"][0] <= row["loss"]["value"] <= row["loss"]["interval"][1]
    assert len(cells(rows[0])) == 5
    again = adapters_gain(recipe, "frontal", data, num_resamples=20)  # nothing trains anew
    assert again == rows
