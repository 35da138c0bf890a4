"""Names of pipelines, weights at half size, folders of other versions."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

import medcodi
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.shipped import shipped_folder, shipped_names


@pytest.fixture(scope="module")
def folder(tiny_run):
    return tiny_run.run_dir / "pipeline"


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def test_a_name_that_is_none_lists_what_there_is(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "runs" / "mine" / "pipeline")
    told = f"Shipped models: {', '.join(shipped_names()) or 'none'}. Pipelines below"
    with pytest.raises(FileNotFoundError, match=f"{re.escape(told)}.*: runs/mine/pipeline"):
        MedCoDiPipeline.from_pretrained("fantom")


def test_half_the_size_on_disk_and_float32_in_memory(folder, tmp_path):
    pipe = MedCoDiPipeline.from_pretrained(folder)
    pipe.save_pretrained(tmp_path, dtype=torch.bfloat16)
    assert pipe.dtype == torch.float32
    assert 0.5 < size(tmp_path) / size(folder) < 0.6  # names and shapes have a size too
    half = MedCoDiPipeline.from_pretrained(tmp_path)
    for kind, modules in half.components.items():
        for name, module in modules.items():
            own = pipe.components[kind][name].state_dict()
            for key, value in module.state_dict().items():
                assert value.dtype == own[key].dtype
                if value.is_floating_point():
                    assert torch.equal(value, own[key].bfloat16().float())
    assert MedCoDiPipeline.from_pretrained(tmp_path, dtype="auto").dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.int8, "half"])
def test_what_is_no_dtype_is_refused(folder, dtype):
    with pytest.raises(ValueError, match="dtype must be a floating point"):
        MedCoDiPipeline.from_pretrained(folder, dtype=dtype)


@pytest.mark.parametrize("version", ["9.9.9", medcodi.__version__])
def test_a_folder_of_another_version_says_which(folder, tmp_path, version):
    shutil.copytree(folder, tmp_path / "x")
    path = tmp_path / "x" / "model_index.json"
    index = json.loads(path.read_text()) | {"version": version, "novelty": 1}
    path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="novelty") as told:
        MedCoDiPipeline.from_pretrained(tmp_path / "x")
    assert ("medcodi 9.9.9 wrote the folder" in str(told.value)) is (version == "9.9.9")


# name -> SHA-256 of its weight files, in the order of their paths
PINNED = {"phantom": "302ab09a31b36353d0a98b213cd0efced298b925de82ac48504bf55a6233f6fe"}
MOST_BYTES = 25_000_000


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_model_is_the_one_that_was_measured(name):
    folder = shipped_folder(name)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    assert digest.hexdigest() == PINNED[name]
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) <= MOST_BYTES


def test_every_pinned_model_is_there():
    assert set(shipped_names()) == set(PINNED)


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_model_generates_every_modality(name, tmp_path, monkeypatch):
    """Without a network and without training, by its name; a folder of that name goes first."""
    monkeypatch.chdir(tmp_path)
    pipe = MedCoDiPipeline.from_pretrained(name)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.dtype == torch.float32 and pipe.facts.data and pipe.facts.commit
    out = pipe(num_inference_steps=2, seeds=[0])
    assert list(out) == pipe.modalities and out.frontal[0].size == (128, 128)
    Path(name).mkdir()
    with pytest.raises(FileNotFoundError, match=r"model_index\.json is missing"):
        MedCoDiPipeline.from_pretrained(name)
