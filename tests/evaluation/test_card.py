"""Figures of the suite in a pipeline's model card."""

import shutil

import pytest

from medcodi.evaluation.card import card_figures, write_figures
from medcodi.pipeline import MedCoDiPipeline


def document_of(model_hash):
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 7}
    rows = [
        {"system": "T>F", "kind": "ours", "n": 7, "cells": {"figure": "AUC", "made": estimate}},
        {"system": "chance", "kind": "floor", "n": 7, "cells": {"made": estimate}},
    ]
    tables = {
        "follow": {"status": "done", "result": {"rows": rows}},
        "joint": {"status": "done", "result": {"rows": rows}, "stale": True},
        "T1": {"status": "not applicable", "message": "no labels"},
    }
    return {"model_hash": model_hash, "tables": tables}


def test_figures_of_generated_outputs_stand_in_the_card(tiny_run, tmp_path):
    folder = tmp_path / "pipeline"
    shutil.copytree(tiny_run.run_dir / "pipeline", folder)
    before = MedCoDiPipeline.from_pretrained(folder)
    facts = write_figures(folder, document_of(before.model_hash), licence="apache-2.0")
    assert [f.name for f in facts.figures] == ["T>F, AUC, made"]
    card = (folder / "README.md").read_text()
    assert "| T>F, AUC, made | 0.9 | 0.8 to 0.95 | 7 |" in card and "license: apache-2.0" in card
    after = MedCoDiPipeline.from_pretrained(folder)
    assert after.model_hash == before.model_hash and after.facts == facts


def test_figures_of_other_weights_are_refused(tiny_run, tmp_path):
    folder = tiny_run.run_dir / "pipeline"
    with pytest.raises(ValueError, match="evaluation is of model 0123abcd"):
        write_figures(folder, document_of("0123abcd"))
    assert card_figures({"tables": {}}) == []
