"""The run folder: gates, order of the stages."""

import json

import pytest

from medcodi.data.storage import FieldSpec
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from tests.tiny import REPORT, copy_run, prepare_tiny, tiny_recipe
from tests.training.parts import (
    LATER,
)


def test_gate_refuses_stage2_with_the_figure(tiny_run, tmp_path):
    gated = {"tabular": {"gate": 1.5}}
    recipe = copy_run(
        tiny_run, tmp_path, without=LATER, modalities=gated, stage2={"modality": "tabular"}
    )
    with pytest.raises(
        ValueError, match=r"group 'tabular' reconstructs with accuracy 0\.\d+, the gate is 1.5"
    ):
        train_stage(recipe, "stage2")
    path = recipe.run_dir / "autoencoder" / "tabular" / "export" / "config.json"
    path.write_text(json.dumps({"reconstruction": {"accuracy": float("nan")}}))
    with pytest.raises(ValueError, match="reconstructs with accuracy nan"):
        train_stage(recipe, "stage2")


def test_stages_in_the_wrong_order_are_refused(tiny_prepared, tmp_path):
    recipe = tiny_recipe(tmp_path, data={"prepared": str(tiny_prepared)})
    for stage, first in (("stage2", "autoencoder/radiograph"), ("stage3", "stage2/frontal")):
        with pytest.raises(FileNotFoundError, match=f"train '{first}' of recipe 'tiny' first"):
            train_stage(recipe, stage)
    with pytest.raises(
        ValueError, match=r"unknown stage 'stage4'\. Stages: autoencoder, stage1, stage2, stage3"
    ):
        train_stage(recipe, "stage4")
    with pytest.raises(
        ValueError, match=r"data.prepared is empty: .*data.prepared=data/my_hospital"
    ):
        train_stage(tiny_recipe(tmp_path / "b", data={"prepared": ""}), "autoencoder")


def test_a_report_of_joined_sections_trains(tmp_path):
    """Folders that kept findings and impression apart need not be prepared again."""

    def part(study):
        if "report" in study.values:
            first, _, rest = study.values["report"].partition(". ")
            study.values |= {"report_findings": f"{first}.", "report_impression": rest or "Normal."}

    extra = [FieldSpec(name, "text") for name in ("report_findings", "report_impression")]
    prepare_tiny(tmp_path / "prepared", 24, extra, part)
    joined = {"modalities": {"report_both": REPORT}, "autoencoder": {"modality": "report_both"}}
    recipe = tiny_recipe(tmp_path, **joined)
    train_stage(recipe, "autoencoder")
    assert Run(recipe).export("autoencoder/report_both").is_dir()
    for study in Run(recipe).data("train", ["report", "report_both"]).having("report"):
        assert study.values["report_both"].startswith(study.values["report"].split(". ")[0])
