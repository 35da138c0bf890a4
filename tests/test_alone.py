"""One modality alone is a recipe: no shared space, no partners, rows or pictures from nothing."""

import logging

import pandas as pd
import pytest

from medcodi.config_io import recipe_from_dict, to_dict
from medcodi.data.prepared import PreparedDataset
from medcodi.export import assemble
from medcodi.generation.impute import Settings, impute
from medcodi.pipeline import MedCoDiPipeline
from tests.tiny import IMAGE, SIZE, TABULAR, tiny_recipe, train_all


def alone(name, kind, prepared, folder):
    values = to_dict(tiny_recipe(folder, data={"prepared": str(prepared)}))
    values |= {"modalities": {name: kind}, "stage2": values["stage2"] | {"paired_validation": True}}
    values["shared_space"]["bridging_pairs"] = []
    return recipe_from_dict(values)


@pytest.fixture(scope="module")
def table_alone(tiny_prepared, tmp_path_factory):
    recipe = alone("tabular", TABULAR, tiny_prepared, tmp_path_factory.mktemp("alone"))
    train_all(recipe)
    return MedCoDiPipeline.from_pretrained(assemble(recipe))


def test_what_needs_another_modality_is_skipped_and_told(tiny_prepared, tmp_path, caplog):
    recipe = alone("frontal", IMAGE, tiny_prepared, tmp_path)
    with caplog.at_level(logging.INFO):
        train_all(recipe)
    assert "stage1 is skipped: frontal is the only modality, there is no other to share" in (
        caplog.text
    )
    assert "stage3 is skipped: frontal is the only modality" in caplog.text
    assert not (recipe.run_dir / "stage1").exists()
    out = MedCoDiPipeline.from_pretrained(assemble(recipe))(num_inference_steps=2, seeds=[0])
    assert out.frontal[0].size == (SIZE, SIZE)


def test_rows_come_from_nothing_and_by_their_seeds(table_alone):
    rows = table_alone(num_inference_steps=2, num_images_per_prompt=3, seeds=[1, 2, 3]).tabular
    again = table_alone(num_inference_steps=2, seeds=[2]).tabular
    assert len(rows) == 3 and not table_alone.components["encoder"]
    pd.testing.assert_frame_equal(rows[1:2].reset_index(drop=True), again, check_dtype=False)


def test_columns_are_kept_and_a_prompt_has_nothing_to_prompt(table_alone):
    keep = {"tabular": {"age_splits": "(59,74]"}}
    out = table_alone(keep=keep, num_inference_steps=2, num_images_per_prompt=2, seeds=[1, 2])
    assert set(out.tabular["age_splits"]) == {"(59,74]"}
    with pytest.raises(ValueError, match="outputs must name at least one modality"):
        table_alone({"tabular": {"age_splits": "(59,74]"}})


def test_gaps_of_a_prepared_folder_are_filled(table_alone, tiny_prepared, tmp_path):
    impute(tiny_prepared, tmp_path / "full", table_alone, Settings(num_inference_steps=2))
    for study in PreparedDataset.load(tmp_path / "full", "train", ["tabular"]):
        assert None not in study.values["tabular"].values()
