"""The tasks of a stage, and settings that do not fit it."""

import pytest

from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.autoencoder import AutoencoderTask
from tests.tiny import copy_run


@pytest.mark.parametrize(
    "settings", [{"modality": "frontal"}, {"per_modality": {"frontal": {"num_steps": 1}}}]
)
@pytest.mark.parametrize("stage", ["stage1", "stage3"])
def test_stage_without_parts_refuses_settings_of_one(tiny_run, tmp_path, stage, settings):
    recipe = copy_run(tiny_run, tmp_path, without=("pipeline",), **{stage: settings})
    (key,) = settings
    with pytest.raises(
        ValueError, match=rf"{stage} trains all modalities together.*leave out {stage}\.{key}"
    ):
        train_stage(recipe, stage)


def test_a_group_that_no_modality_is_of(tiny_run):
    with pytest.raises(ValueError, match=r"group 'frontal'\. Groups: radiograph"):
        AutoencoderTask(Run(tiny_run), "frontal")
