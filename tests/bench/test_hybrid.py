"""The hybrid study at tiny size: every set has its rows, and what is refused."""

import json

import numpy as np
import pytest

from medcodi.bench.commands.hybrid import main, markdown
from medcodi.bench.hybrid import REAL, column_table, study
from medcodi.bench.hybrid_pairs import TREES, Plan, coded, fit_coders, phantoms
from medcodi.phantom import SCHEMA
from medcodi.pipeline import MedCoDiPipeline

TINY = Plan(
    num_studies=150,
    num_public=140,
    num_test=60,
    size=16,
    render_size=16,
    code_dim=6,
    coders=("pca",),
    methods=(("pca", TREES),),
    num_epochs=1,
    min_steps=2,
    num_inference_steps=1,
    seeds=(0,),
)


def test_codes_and_rows_are_learned_together():
    given = phantoms(TINY, 120, 1)
    # something that rows and images share: the image of who is in intensive care is inverted
    for i, row in enumerate(given.rows):
        if row["is_icu"] == "true":
            given.images[i] = 1 - given.images[i]
    coder = fit_coders(TINY, given)["pca"]
    made = coded(TINY, coder, TREES, given, 200)
    assert made.images.shape == (200, 16, 16) and set(made.rows[0]) == set(SCHEMA.names)
    border = made.images[:, :2].mean(axis=(1, 2))
    inverted = np.array([row["is_icu"] == "true" for row in made.rows])
    assert inverted.any() and abs(border[inverted].mean() - border[~inverted].mean()) > 0.1
    stay = [row["length_of_stay"] for row in made.rows if row["length_of_stay"] is not None]
    assert all(value == round(value) and 0 <= value <= 100 for value in stay)


def test_every_set_is_measured(tiny_run):
    pipe = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    tables, sets = study(TINY, pipe)
    assert len(sets) == 5 and all(len(pairs.rows) == 120 for pairs in sets.values())
    assert [row["system"] for row in tables["ranks"]] == list(sets)
    ratios = [row["real:synthetic"] for row in tables["outcome"]]
    assert ratios == ["1:0", *(4 * [".75:.25", ".5:.5", ".25:.75", "0:1", "both"])]
    assert tables["outcome"][0]["difference"].value == 0
    text = markdown(tables)
    assert "PCA codes, medcodi table" in text and "length_of_stay" in text
    assert json.dumps(text)


def test_columns_tell_means_and_shares():
    pairs = phantoms(TINY, 40, 3)
    told = {row["column"]: row[REAL] for row in column_table({REAL: pairs})}
    shares = [float(v[:-1]) for k, v in told.items() if k.startswith("last_status")]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    ages = [row["heart_rate"] for row in pairs.rows if row["heart_rate"] is not None]
    assert told["heart_rate"].startswith(f"{np.mean(ages):.1f} ")


def test_plans_and_coders_that_cannot_be():
    with pytest.raises(ValueError, match="50 or more, got 20"):
        Plan(num_studies=20)
    with pytest.raises(ValueError, match="48 does not divide render_size 128"):
        Plan(size=48)
    with pytest.raises(ValueError, match="dcgan codes no images"):
        fit_coders(Plan(coders=("dcgan",), methods=()), phantoms(TINY, 10, 0))
    with pytest.raises(SystemExit):
        main(["--num-studies", "many"])
