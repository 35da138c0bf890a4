"""A new modality is one file and one entry in a recipe: the toy signal goes through every stage and
the pipeline."""

import json

import numpy as np
import pytest
import torch

from medcodi.export import assemble
from medcodi.pipeline import MedCoDiPipeline
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from tests.contracts.ecg import heart_beat


@pytest.fixture(scope="module")
def five_pipeline(five_recipe):
    for stage in ("autoencoder", "stage1", "stage2", "stage3"):
        train_stage(five_recipe, stage)
    pipe = MedCoDiPipeline.from_pretrained(assemble(five_recipe))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_prepared_signal_follows_the_heart_rate(five_recipe):
    data = Run(five_recipe).data("train", ["tabular", "ecg"]).having("ecg")
    for study in data.batch(range(5)):
        np.testing.assert_allclose(
            study.values["ecg"], heart_beat(study.values["tabular"]["heart_rate"])
        )


def test_every_stage_trained_it(five_recipe, five_pipeline):
    for label in ("autoencoder/ecg", "stage2/ecg"):
        assert (
            json.loads((five_recipe.run_dir / label / "export" / "done.json").read_text())["step"]
            == 3
        )
    assert "ecg" in five_pipeline.modalities and "ecg" in five_pipeline.environments
    assert "ecg" in five_pipeline.diffusions["report"].fusion.names
    assert "ecg" not in five_pipeline.diffusions["ecg"].fusion.names


def test_generated_from_a_report(five_pipeline):
    out = five_pipeline(
        {"report": ["Heart size is normal."] * 2}, ["ecg", "frontal"], num_inference_steps=2
    )
    assert len(out.ecg) == 2 and out.ecg[0].shape == (64,) and np.isfinite(out.ecg).all()


def test_as_a_prompt(five_pipeline):
    def report(rate):
        prompts = {"ecg": heart_beat(rate)[0]}
        return five_pipeline(prompts, ["tabular", "lateral"], 2, seeds=[5]).latents["tabular"]

    assert torch.equal(report(60), report(60)) and not torch.equal(report(60), report(140))
    with pytest.raises(ValueError, match=r"modality 'ecg': expected \(64,\), got \(3,\)"):
        five_pipeline({"ecg": np.zeros(3)})
