"""Folders as diffusers and transformers see them, names of the hub, the model card."""

import subprocess
import sys

import diffusers
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DConditionModel
from transformers import AutoTokenizer, BertModel, GPT2LMHeadModel

from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.facts import Facts, Figure
from medcodi.pipeline.storage import CARD

CALL = {"outputs": ["frontal", "report"], "num_inference_steps": 2, "seeds": [3]}


@pytest.fixture(scope="module")
def folder(tiny_run):
    return tiny_run.run_dir / "pipeline"


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_diffusers_own_loader_gives_this_pipeline(folder):
    pipe = quiet(DiffusionPipeline.from_pretrained(folder))
    assert type(pipe) is MedCoDiPipeline is diffusers.MedCoDiPipeline
    ours = quiet(MedCoDiPipeline.from_pretrained(folder))
    for name, latents in ours(**CALL).latents.items():
        assert torch.equal(pipe(**CALL).latents[name], latents)
    half = DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize("first", ["medcodi", pytest.param("diffusers", marks=pytest.mark.slow)])
def test_the_class_is_registered_by_importing_medcodi(first):
    """Whichever package comes first; `import medcodi` itself loads neither diffusers nor torch."""
    other = "diffusers" if first == "medcodi" else "medcodi"
    light = "assert not {'torch', 'diffusers'} & set(sys.modules)" if first == "medcodi" else ""
    code = (
        f"import sys, {first}\n{light}\nimport {other}, diffusers\n"
        "assert diffusers.MedCoDiPipeline.__module__ == 'medcodi.pipeline.pipeline'\n"
        "assert not hasattr(diffusers, 'NoSuchPipeline') and diffusers.DDIMScheduler"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_components_are_those_of_their_libraries(folder):
    """Each loads by its library's own from_pretrained, with every key of its class and no other."""
    pipe = MedCoDiPipeline.from_pretrained(folder)
    report = pipe.autoencoders["report"]
    parts = {
        (UNet2DConditionModel, "diffusion/frontal/unet"): pipe.diffusions["frontal"].denoiser.unet,
        (AutoencoderKL, "autoencoder/radiograph/vae"): pipe.autoencoders["radiograph"].vae,
        (GPT2LMHeadModel, "autoencoder/report/decoder"): report.decoder,
    }
    for (kind, path), ours in parts.items():
        loaded, info = kind.from_pretrained(folder / path, output_loading_info=True)
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        own = ours.state_dict()
        assert all(torch.equal(value, own[key]) for key, value in loaded.state_dict().items())
    bert = BertModel.from_pretrained(folder / "autoencoder/report/encoder", add_pooling_layer=False)
    weights = report.encoder.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in bert.state_dict().items())
    texts = ["Large left effusion."]
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer/report")
    ours = report.tokenizer.backend(texts, add_special_tokens=False)["input_ids"]
    assert tokenizer(texts, add_special_tokens=False)["input_ids"] == ours
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(
        folder / "scheduler/frontal"
    )
    assert scheduler.config.shift == pipe.schedulers["frontal"].config.shift


def test_a_part_can_be_saved_and_loaded(folder, tmp_path):
    part = MedCoDiPipeline.from_pretrained(folder, modalities=["tabular", "frontal"])
    assert part.modalities == ["frontal", "tabular"]
    part.save_pretrained(tmp_path / "part")
    again = quiet(MedCoDiPipeline.from_pretrained(tmp_path / "part"))
    assert again.modalities == ["frontal", "tabular"] and list(again.encoders) != []
    assert len(again(outputs=["tabular"], num_inference_steps=1)) == 1
    with pytest.raises(ValueError, match="unknown key 'report' in the modalities of"):
        MedCoDiPipeline.from_pretrained(tmp_path / "part", modalities=["report"])


def test_a_swapped_scheduler_is_saved_as_it_fits(folder, tmp_path):
    pipe = MedCoDiPipeline.from_pretrained(folder, scheduler=diffusers.UniPCMultistepScheduler())
    pipe.save_pretrained(tmp_path / "saved")
    config = MedCoDiPipeline.from_pretrained(tmp_path / "saved").scheduler.config
    assert config.use_flow_sigmas and config.prediction_type == "flow_prediction"

    class Mine(diffusers.UniPCMultistepScheduler):
        pass

    pipe.scheduler = Mine()
    with pytest.raises(ValueError, match="expected a scheduler class of diffusers, got 'Mine'"):
        pipe.save_pretrained(tmp_path / "mine")


def test_the_model_card_tells_what_is_known(folder, tmp_path):
    card = (folder / CARD).read_text()
    assert card.startswith("---\nlibrary_name: medcodi\n") and "None were measured" in card
    pipe = MedCoDiPipeline.from_pretrained(folder)
    figure = Figure("effusion AUC of T>F", 0.97, 384, [0.95, 0.98])
    pipe.facts = Facts(
        "phantom", commit="abc123", hours={"stage2": 0.5}, figures=[figure], licence="apache-2.0"
    )
    pipe.save_pretrained(tmp_path / "saved")
    card = (tmp_path / "saved" / CARD).read_text()
    for told in (
        "license: apache-2.0",
        "| data | phantom |",
        "| hours | stage2 0.50 |",
        "| effusion AUC of T>F | 0.97 | 0.95 to 0.98 | 384 |",
        "Not for clinical use",
    ):
        assert told in card
    assert MedCoDiPipeline.from_pretrained(tmp_path / "saved").facts == pipe.facts


def test_a_name_of_the_hub_says_which_folder_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    match = rf"There is no folder {tmp_path}/nobody/nothing, and the hub gave no model of that name"
    with pytest.raises(FileNotFoundError, match=match):
        MedCoDiPipeline.from_pretrained("nobody/nothing")
    for odd in (5, None):
        with pytest.raises(ValueError, match="expected a folder or a name on the hub, got"):
            MedCoDiPipeline.from_pretrained(odd)


def test_push_to_hub_offline_is_one_error(folder):
    pipe = MedCoDiPipeline.from_pretrained(folder, modalities=["tabular"])
    with pytest.raises(ValueError, match="nobody/nothing was not pushed to the hub"):
        pipe.push_to_hub("nobody/nothing")
    with pytest.raises(ValueError, match="a name on the hub must read OWNER/MODEL, got 'x'"):
        pipe.push_to_hub("x")


def test_options_of_loading(folder):
    assert MedCoDiPipeline.from_pretrained(folder, dtype="auto").dtype == torch.float32
    assert MedCoDiPipeline.from_pretrained(folder, dtype=torch.float16).dtype == torch.float16
    assert MedCoDiPipeline.from_pretrained(folder, device_map="cpu").device.type == "cpu"
    for options, match in (
        ({"device_map": "balanced"}, "device_map must be one device, such as 'cuda' or 'cpu'"),
        ({"dtype": "float16"}, "dtype must be a floating point torch.dtype, got 'float16'"),
        ({"torch_dtype": torch.int8}, "dtype must be a floating point torch.dtype"),
        ({"variant": "fp16"}, "unknown key 'variant' in from_pretrained"),
        ({"modalities": []}, "modalities must name at least one of"),
        ({"modalities": ["frontl"]}, "did you mean 'frontal'"),
        ({"scheduler": diffusers.LCMScheduler()}, "LCMScheduler cannot sample from this model"),
    ):
        with pytest.raises(ValueError, match=match):
            MedCoDiPipeline.from_pretrained(folder, **options)
