"""Every format from a real pipeline, by the command line: precision, files, what other tools
load."""

import json

import datasets
import numpy as np
import pydicom
import pytest
import torch
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.generation.formats import FORMATS
from medcodi.pipeline import MedCoDiPipeline

PROMPT, SEED = "Large left effusion.", 3


@pytest.fixture(scope="module")
def folders(tiny_run, tmp_path_factory):
    """Three samples from one report in every format."""
    folders = {}
    for name in FORMATS:
        folders[name] = tmp_path_factory.mktemp("formats") / name
        call = [
            "generate",
            "--pipeline",
            str(tiny_run.run_dir / "pipeline"),
            "--output",
            str(folders[name]),
            "--format",
            name,
            "--prompt",
            f"report={PROMPT}",
            "--num-samples",
            "3",
            "--seed",
            str(SEED),
            "--num-inference-steps",
            "2",
        ]
        result = CliRunner().invoke(
            app, [*call, *(["--pixel-spacing", "2"] if name == "dicom-dx" else [])]
        )
        assert result.exit_code == 0, result.exception
    return folders


@pytest.fixture(scope="module")
def expected(tiny_run):
    """The same samples by the Python call: stored values by name."""
    pipe = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    seeds = pipe.draw_seeds(torch.Generator().manual_seed(SEED), None, 3)
    out = pipe({"report": [PROMPT] * 3}, num_inference_steps=2, seeds=seeds)
    return out.stored


@pytest.mark.parametrize("name", FORMATS)
def test_the_manifest_lists_every_file(folders, name):
    folder = folders[name]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == name and len(manifest["samples"]) == 3
    listed = {file["path"] for sample in manifest["samples"] for file in sample["files"].values()}
    listed |= {file["path"] for file in manifest.get("files", {}).values()}
    assert listed | {"manifest.json"} == {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("name", ["dicom", "dicom-dx", "fhir"])
def test_dicom_holds_twelve_bits_of_the_decoder(folders, expected, name):
    for i in range(3):
        for view in ("frontal", "lateral"):
            pixels = pydicom.dcmread(folders[name] / f"sample_{i:05d}" / f"{view}.dcm").pixel_array
            # one step: the decoder's floats differ in their last bits between batches, and a tie
            # may round either way
            np.testing.assert_allclose(
                pixels, np.round(expected[view][i].astype(np.float64) * 4095), rtol=0, atol=1
            )
            eight_bits = np.round(np.round(expected[view][i] * 255) / 255 * 4095)
            assert (pixels != eight_bits).mean() > 0.5


def test_imagefolder_holds_sixteen(folders, expected, tmp_path):
    loaded = datasets.load_dataset(
        str(folders["imagefolder"]), split="train", cache_dir=str(tmp_path)
    )
    for row, frontal, cells in zip(loaded, expected["frontal"], expected["tabular"], strict=True):
        np.testing.assert_allclose(
            np.asarray(row["frontal"]), np.round(frontal.astype(np.float64) * 65535), rtol=0, atol=1
        )
        assert {name: row[f"tabular_{name}"] for name in cells} == cells


def test_croissant_of_a_flat_folder(folders):
    mlcroissant = pytest.importorskip(
        "mlcroissant", reason="mlcroissant is not installed: pip install 'medcodi[test]'"
    )
    described = mlcroissant.Dataset(jsonld=str(folders["imagefolder"] / "croissant.json"))
    assert len(list(described.records("frontal"))) == len(list(described.records("studies"))) == 3
