"""Utility, hybrid, tabular and privacy tables: on the tiny run's pipeline with a phantom that is
large enough to measure."""

import copy

import numpy as np
import pytest

pytest.importorskip("lightgbm", reason="the extra `eval` is not installed")

from medcodi.config import EvaluationConfig, Recipe
from medcodi.config_io import build_dataclass
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.records import fit_settings
from medcodi.evaluation.suite import run_suite
from medcodi.evaluation.table import choose_tables
from medcodi.evaluation.tables import hybrid
from medcodi.phantom import SCHEMA
from tests.tiny import prepare_tiny

OURS = ["T8", "T10", "T11", "A3", "hybrid", "moments", "privacy", "tabular"]
FIT = {"num_epochs": 1, "min_steps": 3, "batch_size": 16}
TABLES = {
    **{key: {"num_images": 40, "seeds": [0], "fit": FIT} for key in ("T8", "T10", "T11", "A3")},
    "hybrid": {"num_records": 40, "seeds": [0], "fit": FIT},
    "privacy": {"num_records": 24, "level": 0.05, "fit": FIT},
    "tabular": {"num_rows": 40},
    "moments": {"num_rows": 40},
}
SMALL = {"num_studies": 24, "num_inference_steps": 1, "num_resamples": 20, "tables": TABLES}


def context_of(recipe, prepared, output, **settings):
    """The tiny run's pipeline, evaluated on another phantom."""
    changed = copy.deepcopy(recipe)
    changed.data.prepared = str(prepared)
    changed.evaluation = build_dataclass(EvaluationConfig, SMALL | settings, "evaluation")
    return EvaluationContext(changed, output, recipe.run_dir / "pipeline")


@pytest.fixture(scope="module")
def done(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("worth")
    context = context_of(tiny_run, prepare_tiny(folder / "prepared", 300), folder / "results")
    return context, run_suite(context, OURS)["tables"]


@pytest.mark.slow
def test_every_table_is_measured_beside_floors(done):
    _, tables = done
    assert {
        key: (tables[key]["status"], tables[key].get("message")) for key in OURS
    } == dict.fromkeys(OURS, ("done", None))
    for key in OURS:
        result = tables[key]["result"]
        assert {"ours", "real"} <= {row["kind"] for row in result["rows"]} and result["n"] > 0, key
        assert {"floor"} <= {row["kind"] for row in result["rows"]}, key
        assert result["figures"] and result["seeds"] and result["notes"]


@pytest.mark.slow
def test_planted_copies_are_found_in_the_table(done):
    figures = done[1]["privacy"]["result"]["figures"]
    for space in ("F", "record"):
        assert figures[f"planted, exact.{space}.planted copies found"] == 1.0
        assert figures[f"planted, perturbed.{space}.planted copies found"] == 1.0
        assert (
            figures[f"planted, exact.{space}.called copies"]
            > figures[f"generated.{space}.called copies"]
        )
    assert (
        figures["planted, exact.record.linked"] >= figures["generated.record.linked"] + 2 / 24
    )  # 10 % of 24 records


@pytest.mark.slow
def test_tabular_floor_shares_the_shape_of_real_rows(done):
    figures = done[1]["tabular"]["result"]["figures"]
    assert figures["independent.shape"] == pytest.approx(figures["real.shape"])


@pytest.mark.slow
def test_scarcity_names_what_is_too_little(done):
    notes = " ".join(done[1]["T11"]["result"]["notes"])
    assert "Too few real images" in notes and "95% (2 real)" in notes


@pytest.mark.slow
def test_one_outcome_only_is_a_message_and_the_others_run(done):
    context, _ = done
    tables = copy.deepcopy(TABLES)
    tables["hybrid"]["outcome"] = {"column": "last_status", "positive": ["deceased", "discharged"]}
    changed = EvaluationContext(
        copy.deepcopy(context.recipe), context.output.parent / "one", context.pipeline_dir
    )
    changed.recipe.evaluation.tables = tables
    result = run_suite(changed, ["hybrid", "moments"])["tables"]
    assert result["hybrid"]["status"] == "failed" and "each outcome" in result["hybrid"]["message"]
    assert result["moments"]["status"] == "done"


def test_ids_of_the_utility_tables():
    assert set(OURS) <= set(choose_tables(None)) and set(choose_tables(["T9"])) == {"T10"}


def test_options_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"evaluation.tables.hybrid.fit"):
        fit_settings({"epochs": 3}, 64, "evaluation.tables.hybrid")
    assert (
        fit_settings({}, 64, "x").network == "tiny"
        and fit_settings({}, 256, "x").network == "densenet121"
    )
    assert fit_settings({"network": "tiny"}, 256, "x").network == "tiny"

    def context(tables):
        recipe = Recipe(evaluation=EvaluationConfig(tables=tables))
        return EvaluationContext(recipe, tmp_path)

    with pytest.raises(ValueError, match=r"'records' in evaluation.tables.hybrid; .*num_records"):
        hybrid.Hybrid().options(context({"hybrid": {"records": 3}}))
    chosen = hybrid.Hybrid().options(context({"hybrid": {"num_records": 3}}))
    assert chosen["num_records"] == 3 and chosen["num_test"] == 2000
    with pytest.raises(ValueError, match=r"'size' in evaluation.tables.T4"):
        choose_tables(["T4"])["T4"]().options(context({"T4": {"size": 3}}))
    with pytest.raises(ValueError, match=r"'hibrid' in evaluation.tables; did you mean 'hybrid'"):
        run_suite(context({"hibrid": {}}), ["T1"])


def test_outcomes_are_read_from_the_named_column():
    rows = [{"last_status": "deceased"}, {"last_status": None}, {"last_status": "discharged"}]
    read = hybrid.reader({"column": "last_status", "positive": ["deceased"]}, SCHEMA)
    assert read(np.zeros((3, 8, 8)), rows).outcome.tolist() == [True, False]
    with pytest.raises(ValueError, match="no record has the outcome"):
        read(np.zeros((1, 8, 8)), rows[1:2])
    for outcome, message in (
        ({"column": "heart_rate", "positive": ["x"]}, "must be one of"),
        ({"column": "last_status", "positive": ["dead"]}, "dead"),
        ({"column": "last_status"}, "must list values"),
    ):
        with pytest.raises(ValueError, match=message):
            hybrid.reader(outcome, SCHEMA)
    assert [hybrid.ratio_name(share) for share in (1.0, 0.75, 0.5, 0.0)] == [
        "1:0",
        ".75:.25",
        ".5:.5",
        "0:1",
    ]
