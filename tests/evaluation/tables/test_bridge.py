"""The labels of a prompt's study, read in an output that the study need not have."""

import copy

import numpy as np
import pytest

from medcodi.config import EvaluationConfig
from medcodi.config_io import build_dataclass
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.tables.bridge import Bridge
from medcodi.metrics.statistics import auc

LABELS = {
    "died": {"column": "last_status", "positive": ["deceased"]},
    "female": {"column": "gender_concept_name", "positive": ["female"]},
}


def context(tiny_run, folder, findings, labels=LABELS):
    recipe = copy.deepcopy(tiny_run)
    settings = {
        "num_studies": 12,
        "num_training_studies": 40,
        "num_resamples": 20,
        "network_steps": 4,
        "num_inference_steps": 1,
        "labels": labels,
        "tables": {"bridge": {"findings": findings}},
    }
    recipe.evaluation = build_dataclass(EvaluationConfig, settings, "evaluation")
    return EvaluationContext(recipe, folder)


def test_every_route_is_measured_by_labels_of_the_prompt(tiny_run, tmp_path):
    found = Bridge().run(context(tiny_run, tmp_path, {"died": "Pleural Effusion"}))
    systems = {row.system for row in found.rows}
    assert systems <= {"table>F", "T>F", "F>table", "F>T"} and {"table>F", "F>table"} <= systems
    images = [row for row in found.rows if row.system == "table>F"]
    assert any(row.cells["figure"].endswith(": r") for row in images)
    for row in images:
        assert row.n > 0 and 0 <= abs(row.value("generated")) <= 1
        assert row.cells["real"].n == row.n  # the tiny phantom's studies have everything


def test_a_reading_that_is_the_truth_is_perfect_and_shuffled_is_chance(tiny_run, tmp_path):
    table = Bridge()
    table.context = context(tiny_run, tmp_path, {})
    studies = table.context.studies.held_out("F")
    truth = np.arange(len(studies)) % 2.0
    value, floor = table._estimates(auc, truth, truth, studies)
    assert value.value == 1 and abs(floor - 0.5) < 0.2
    gaps = np.where(np.arange(len(studies)) < 4, np.nan, truth)
    assert table._estimates(auc, gaps, truth, studies)[0].n == len(studies) - 4
    assert table._estimates(auc, np.zeros(len(studies)), truth, studies) is None


def test_what_it_cannot_measure_is_named(tiny_run, tmp_path):
    for findings, told in (({"dies": "Edema"}, "died"), ({"died": "Edemas"}, "Edema")):
        with pytest.raises(ValueError, match=told):
            Bridge().run(context(tiny_run, tmp_path, findings))
    (reason,) = Bridge().reasons(context(tiny_run, tmp_path, {}, {}))
    assert "evaluation.labels names none" in reason
