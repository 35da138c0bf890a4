"""The run folder: gates, order of the stages."""

import json

import pytest

from medcodi.training.tasks import train_stage
from tests.tiny import copy_run, tiny_recipe
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
