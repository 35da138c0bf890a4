"""Routes are parsed strictly, and the figures move with what is read."""

import copy
import json
import shutil

import pytest

from medcodi.config import EvaluationConfig
from medcodi.config_io import build_dataclass
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.follow import pair_figures, parse_route, route_figures


def test_routes_are_read_strictly():
    assert parse_route("FL>T") == (("F", "L"), "T")
    assert parse_route("FT>table") == (("F", "T"), "table")
    for wrong in ("T", "T>", ">F", "F>F", "FT>F", "X>F", "F>LT", "table>F"):
        with pytest.raises(ValueError, match="a route reads as"):
            parse_route(wrong)


@pytest.fixture(scope="module")
def context(tiny_run, tmp_path_factory):
    recipe = copy.deepcopy(tiny_run)
    settings = {"num_studies": 12, "num_training_studies": 40, "num_resamples": 20}
    recipe.evaluation = build_dataclass(EvaluationConfig, settings, "evaluation")
    return EvaluationContext(recipe, tmp_path_factory.mktemp("follow"))


def test_real_outputs_are_the_ceiling_and_empty_reports_find_nothing(context):
    studies = context.studies.held_out(("F", "L", "T", "table"))
    real = context.studies.values(studies, "T")
    for row in route_figures(context, ("F",), "T", studies, real):
        assert row["value"] == row["ceiling"] or row["note"]
    silent = route_figures(context, ("F",), "T", studies, ["Heart size is normal."] * len(studies))
    assert silent[0]["value"] == 0 and silent[0]["ceiling"] > 0.9


def test_a_pair_that_is_the_same_both_ways_has_no_difference(context):
    studies = context.studies.held_out(("F", "L", "T", "table"))
    values = {letter: context.studies.values(studies, letter) for letter in ("F", "T")}
    for row in pair_figures(context, "unconditional", ("F", "T"), studies, values, values):
        assert row["difference"]["value"] == 0 or row["difference"]["value"] is None
        assert row["joint"]["value"] == row["ceiling"]


def test_samples_are_kept_apart_by_what_the_recipe_says_of_sampling(context, tmp_path):
    """No weight, and so no hash of the model, depends on it."""
    folder = tmp_path / "pipeline"
    shutil.copytree(context.pipeline_dir, folder)
    index = json.loads((folder / "model_index.json").read_text())

    def told() -> tuple[str, dict]:
        made = EvaluationContext(context.recipe, tmp_path / "out", folder)
        return made.fingerprint(), made.generations.sampling

    before = told()
    for key, value in (
        ("guidance_scale", 7.0),
        ("guidance_interval", [0.1, 0.2]),
        ("coupling_scale", 7.0),
        ("coupling_interval", [0.1, 0.2]),
    ):
        index["recipe"]["modalities"]["frontal"][key] = value
        (folder / "model_index.json").write_text(json.dumps(index))
        after = told()
        assert after[1]["frontal"][key] == value and after[1]["lateral"] == before[1]["lateral"]
        assert after[0] != before[0]
        before = after
