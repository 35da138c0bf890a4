"""What a call returns: names, samples, files."""

import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file


@pytest.fixture
def out(tiny_pipeline):
    return tiny_pipeline(
        outputs=["frontal", "report", "tabular"],
        num_inference_steps=1,
        num_images_per_prompt=2,
        seeds=[5, 6],
    )


def test_an_output_reads_as_a_mapping_of_names(out):
    assert list(out) == list(out.keys()) == ["frontal", "report", "tabular"] and len(out) == 2
    assert dict(out).keys() == out.keys() and "frontal" in out and "lateral" not in out
    assert out.to_tuple()[1] is out.report is out["report"] is out[1]
    assert [name for name, _ in out.items()] == list(out)
    assert repr(out) == (
        "MedCoDiOutput(2 samples; frontal: list (latents 2x8x8), report: list (latents 4x4), "
        "tabular: DataFrame (latents 2x4))"
    )
    with pytest.raises(ValueError, match="'lateral' was not generated; outputs: frontal, report"):
        out["lateral"]


def test_save_writes_a_file_a_value_and_the_seeds(out, tmp_path):
    folder = out.save(tmp_path / "samples")
    told = json.loads((folder / "samples.json").read_text())
    assert told["synthetic"] and not told["clinical_use"]
    assert [sample["seed"] for sample in told["samples"]] == [5, 6]
    files = told["samples"][1]["files"]
    assert Image.open(folder / files["frontal"]).tobytes() == out.frontal[1].tobytes()
    assert (folder / files["report"]).read_text() == out.report[1] + "\n"
    latents = load_file(folder / "latents.safetensors")
    assert all(torch.equal(latents[name], x) for name, x in out.latents.items())
    with pytest.raises(ValueError, match="exists already"):
        out.save(folder)
    out.save(folder, overwrite=True)


def test_latents_alone_are_saved(tiny_pipeline, tmp_path):
    raw = tiny_pipeline(outputs=["report"], num_inference_steps=1, output_type="latent")
    assert sorted(p.name for p in raw.save(tmp_path / "raw").iterdir()) == [
        "latents.safetensors",
        "samples.json",
    ]
