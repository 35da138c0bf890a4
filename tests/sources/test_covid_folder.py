"""A real source, the COVID-19 image data collection: a subset through `medcodi prepare`, all
stages, the pipeline."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.config import STAGES
from medcodi.config_io import load_recipe, load_yaml, save_yaml
from medcodi.data.prepared import PreparedDataset
from medcodi.export import assemble
from medcodi.pipeline import MedCoDiPipeline
from medcodi.training.tasks import train_stage

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY.parent / "shared" / "data" / "covid_cxr"
MAPPING, RECIPE = (
    REPOSITORY / "configs" / "sources" / "covid_cxr.yaml",
    REPOSITORY / "configs" / "covid_cxr.yaml",
)
NUMBERS = ["temperature", "pO2_saturation", "neutrophil_count", "lymphocyte_count"]
SIZE = 64

pytestmark = pytest.mark.skipif(
    not SOURCE.is_dir(), reason=f"{SOURCE} is not here: it does not ship with medcodi"
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The rows that hold a number (so that every numeric column is there), as a source of their own
    at 64 x 64."""
    folder = tmp_path_factory.mktemp("covid")
    rows = pd.read_csv(SOURCE / "metadata.csv", dtype=str, keep_default_na=False)
    rows = rows[(rows[NUMBERS] != "").any(axis=1)]
    (folder / "source" / "images").mkdir(parents=True)
    rows.to_csv(folder / "source" / "metadata.csv", index=False)
    for name in rows["file"]:
        shutil.copy(SOURCE / name, folder / "source" / name)
    save_yaml(load_yaml(MAPPING) | {"size": SIZE}, folder / "mapping.yaml")
    call = [
        "prepare",
        "folder",
        str(folder / "source"),
        "--mapping",
        str(folder / "mapping.yaml"),
        "--output",
        str(folder / "prepared"),
    ]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.exception
    return folder / "prepared", rows


def test_prepared_subset(prepared):
    folder, rows = prepared
    splits = [PreparedDataset.load(folder, split) for split in ("train", "validation", "test")]
    studies = [study for split in splits for study in split.batch(range(len(split)))]
    images = [s.values[n] for s in studies for n in ("frontal", "lateral") if n in s.values]
    assert len(images) == len(rows) and all(image.shape == (SIZE, SIZE) for image in images)
    patients = [set(split.patient_ids) for split in splits]
    assert set.union(*patients) == set(rows["patient_id"])
    assert sum(map(len, patients)) == len(set.union(*patients))  # no patient stands in two splits
    assert all(min(image.min(), 1 - image.max()) >= 0 for image in images)


@pytest.mark.slow
@pytest.mark.skipif(not RECIPE.is_file(), reason=f"{RECIPE} is not here")
def test_all_stages_of_the_recipe(prepared, tmp_path):
    """The shipped recipe with its own networks, at 64 x 64 pixels and two steps a stage."""
    folder, _ = prepared
    recipe = load_recipe(
        RECIPE, [f"output_dir={tmp_path}", f"data.prepared={folder}", "data.num_workers=0"]
    )
    for arguments in recipe.modalities.values():
        arguments["gate"] = -1e9
        if arguments["kind"] == "image":
            arguments["size"] = SIZE
    for stage in STAGES:
        section = getattr(recipe, stage)
        section.num_steps, section.batch_size, section.mixed_precision = 2, 8, "no"
        section.per_modality, section.preview_every, section.gradient_accumulation_steps = {}, 0, 1
        train_stage(recipe, stage)
    pipe = MedCoDiPipeline.from_pretrained(assemble(recipe))
    out = pipe({"report": "Bilateral ground-glass opacities."}, num_inference_steps=2)
    assert out.frontal[0].size == (SIZE, SIZE)
    assert list(out.tabular.columns) == pipe.family.modality("tabular").schema.names
