"""Adapters from a recipe to a pipeline: trained on its denoisers, loaded, weighed, fused."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from medcodi.adapters import train_adapters
from medcodi.config_io import load_recipe, save_yaml
from medcodi.generation.request import Request
from medcodi.generation.run import generate_to_folder
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.lora import ADAPTER, ADAPTER_CONFIG
from medcodi.training.tasks import train_stage
from medcodi.training.tracking import read_metrics
from tests.training.parts import interrupted

pytest.importorskip("peft")
STAGE = {"num_steps": 4, "batch_size": 8, "log_every": 1, "optim": {"lr": 0.02, "warmup_steps": 1}}


def write_recipe(tiny_run, folder: Path, name="site", **adapters) -> Path:
    values = {
        "name": name,
        "output_dir": str(folder),
        "data": {"prepared": tiny_run.data.prepared},
        "adapters": {"base": str(tiny_run.run_dir / "pipeline"), "rank": 2, **adapters},
        "stage2": STAGE,
    }
    path = folder / f"{name}.yaml"
    save_yaml(values, path)
    return path


@pytest.fixture(scope="module")
def adapted(tiny_run, tmp_path_factory):
    """Recipe of adapters, trained."""
    folder = tmp_path_factory.mktemp("adapters")
    recipe = load_recipe(write_recipe(tiny_run, folder))
    train_adapters(recipe, "stage2")
    return recipe


def sample(pipe):
    out = pipe("Large effusion.", ["frontal", "tabular"], 2, seeds=[1], output_type="latent")
    return out.latents


def differ(one, two):
    return {name: not torch.allclose(one[name], two[name], atol=1e-5) for name in one}


def test_the_run_holds_small_files_and_the_base_is_untouched(adapted, tiny_run):
    folder = adapted.run_dir / "stage2" / "frontal"
    whole = tiny_run.run_dir / "stage2" / "frontal" / "export" / "model.safetensors"
    assert (folder / "export" / ADAPTER).stat().st_size < whole.stat().st_size
    told = json.loads((folder / "export" / ADAPTER_CONFIG).read_text())
    assert told["modality"] == "frontal" and told["adapters"]["rank"] == 2
    assert str(tiny_run.run_dir) not in json.dumps(told)
    steps = [r["step"] for r in read_metrics(folder / "metrics.jsonl") if r["split"] == "train"]
    assert steps == [1, 2, 3, 4]


def test_load_weigh_fuse_and_unload(adapted, tiny_pipeline, tmp_path):
    pipe = tiny_pipeline
    plain, plain_hash = sample(pipe), pipe.model_hash
    pipe.load_lora_weights(adapted.run_dir)
    with_adapters = sample(pipe)
    assert differ(plain, with_adapters) == {"frontal": True, "tabular": True}
    assert pipe.adapters == {"default": 1.0} and pipe.model_hash != plain_hash
    pipe.set_adapters(0.0)
    assert differ(plain, sample(pipe)) == {"frontal": False, "tabular": False}
    assert pipe.model_hash == plain_hash
    pipe.set_adapters({"default": 1.0})
    assert differ(with_adapters, sample(pipe)) == {"frontal": False, "tabular": False}
    with pytest.raises(ValueError, match=r"adapters are loaded \(default\): fuse_lora"):
        pipe.save_pretrained(tmp_path / "saved")
    pipe.fuse_lora()
    pipe.save_pretrained(tmp_path / "saved")
    again = MedCoDiPipeline.from_pretrained(tmp_path / "saved")
    for name, value in sample(again).items():
        torch.testing.assert_close(value, with_adapters[name], rtol=1e-3, atol=1e-3)


def test_generate_takes_adapters(adapted, tiny_run, tmp_path):
    plain = Request(tiny_run.run_dir / "pipeline", tmp_path / "a", outputs=["frontal"])
    asked = dataclasses.replace(
        plain, output=tmp_path / "b", lora=adapted.run_dir, lora_strength=0.5
    )
    without, told = (generate_to_folder(request) for request in (plain, asked))
    assert told["settings"]["lora_strength"] == 0.5
    assert told["model"]["hash"] != without["model"]["hash"]
    files = [manifest["samples"][0]["files"]["frontal"]["sha256"] for manifest in (without, told)]
    assert files[0] != files[1]
    with pytest.raises(ValueError, match="name their folder too"):
        dataclasses.replace(plain, lora_strength=0.5)


def test_unloaded_is_as_before(adapted, tiny_pipeline):
    plain, before = sample(tiny_pipeline), tiny_pipeline.model_hash
    tiny_pipeline.load_lora_weights(adapted.run_dir / "stage2" / "frontal", "site", 0.7)
    assert differ(plain, sample(tiny_pipeline))["frontal"]
    tiny_pipeline.unload_lora_weights()
    assert differ(plain, sample(tiny_pipeline)) == {"frontal": False, "tabular": False}
    assert tiny_pipeline.model_hash == before and tiny_pipeline.adapters == {}


def test_a_stopped_stage_goes_on(tiny_run, adapted, tmp_path, monkeypatch):
    recipe = load_recipe(
        write_recipe(tiny_run, tmp_path, "stopped"), ["modality=tabular"], "stage2"
    )
    monkeypatch.setattr("tests.training.parts.train_stage", train_adapters)
    interrupted(recipe, "stage2")
    train_adapters(recipe, "stage2")
    one, two = (
        (r.run_dir / "stage2" / "tabular" / "export" / ADAPTER).read_bytes()
        for r in (adapted, recipe)
    )
    assert one == two


def test_bad_input_is_named(tiny_run, adapted, tiny_pipeline, tmp_path):
    with pytest.raises(ValueError, match="a recipe of adapters trains stage2 alone, not stage3"):
        train_adapters(adapted, "stage3")
    with pytest.raises(ValueError, match=r"trains by medcodi\.adapters"):
        train_stage(adapted, "stage2")
    with pytest.raises(ValueError, match=r"adapters.kind must be lora or dora, got 'lore'"):
        load_recipe(write_recipe(tiny_run, tmp_path, kind="lore"))
    with pytest.raises(FileNotFoundError, match=r"adapters.base: .* does not exist"):
        load_recipe(write_recipe(tiny_run, tmp_path, base="absent"))
    path = write_recipe(tiny_run, tmp_path)
    with pytest.raises(ValueError, match=r"diffusion is not that of adapters.base: leave it out"):
        load_recipe(path, ["diffusion.fusion=mean"])
    with pytest.raises(FileNotFoundError, match=f"holds no {ADAPTER}"):
        tiny_pipeline.load_lora_weights(tmp_path)
    pipe = tiny_pipeline
    with pytest.raises(ValueError, match="strength must lie in"):
        pipe.load_lora_weights(adapted.run_dir, strength=-1)
    with pytest.raises(ValueError, match="adapter_name must be a plain name"):
        pipe.load_lora_weights(adapted.run_dir, "a.b")
    pipe.model_hash = "0" * 16
    with pytest.raises(ValueError, match=r"trained on a base with the hash .* this pipeline has 0"):
        pipe.load_lora_weights(adapted.run_dir)
    with pytest.raises(ValueError, match="unknown key 'site' in the loaded adapters"):
        pipe.set_adapters({"site": 1.0})
    assert pipe.adapters == {}
