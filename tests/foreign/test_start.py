"""Stages that start from imported weights: they resume them at step 0, keep them with `num_steps:
0`, and go on training."""

import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.config_io import save_yaml, to_dict
from medcodi.foreign import start_stage
from medcodi.foreign.importing import _write as write_part
from medcodi.foreign.ledger import Ledger
from medcodi.nn.weights import WEIGHTS, load_config, save_module
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from tests.foreign.stable_diffusion import write_vae
from tests.tiny import NEVER, copy_run, tiny_recipe


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    return write_vae(tmp_path_factory.mktemp("sd"))


def recipe_of(tiny_prepared, folder, **autoencoder):
    return tiny_recipe(
        folder,
        data={"prepared": str(tiny_prepared)},
        autoencoder={"modality": "frontal", **autoencoder},
        modalities={"frontal": {"gate": NEVER}},
    )


def command(*arguments):
    return CliRunner().invoke(app, ["import", *arguments])


def test_the_script_imports_and_starts_a_frozen_autoencoder(vae, tiny_prepared, tmp_path):
    """num_steps 0: the export is the imported VAE, with statistics and a reconstruction measured on
    the data."""
    recipe = recipe_of(tiny_prepared, tmp_path, num_steps=0)
    save_yaml(to_dict(recipe), tmp_path / "recipe.yaml")
    config = ["--config", str(tmp_path / "recipe.yaml")]
    imported = str(tmp_path / "imported")
    source = ["--modality", "frontal", "--source", str(vae)]
    done = command("autoencoder", *config, *source, "--output", imported)
    assert done.exit_code == 0 and "mapped to" in done.output
    assert "summed" in (tmp_path / "imported" / "keys.json").read_text()
    begin = ("start", *config, "--stage", "autoencoder", "--weights", imported)
    assert command(*begin).exit_code == 0
    train_stage(recipe, "autoencoder")
    folder = recipe.run_dir / "autoencoder" / "radiograph"
    imported, exported = (
        load_file(p / WEIGHTS) for p in (tmp_path / "imported", folder / "export")
    )
    for key, value in imported.items():
        assert torch.equal(exported[key], value) != key.startswith("latent_"), key
    assert "psnr" in load_config(folder / "export")["reconstruction"]
    (source,) = json.loads((folder / "started_from.json").read_text()).values()
    assert source["foreign"] == "autoencoder" and source["source"] == f"{vae}/vae"
    assert Run(recipe).autoencoder("radiograph") is not None  # what later stages load
    assert isinstance(command(*begin).exception, ValueError)


def test_an_image_is_imported_before_there_are_data(vae, tmp_path):
    """Names first; then no tokenizer is fitted for the VAE of an image. What must come first is
    said where it must."""
    recipe = tiny_recipe(tmp_path, data={"prepared": str(tmp_path / "nowhere")})
    save_yaml(to_dict(recipe), tmp_path / "recipe.yaml")
    output = tmp_path / "imported"

    def run(part, modality, *more, source=str(vae)):
        config = ["--config", str(tmp_path / "recipe.yaml"), "--modality", modality]
        return command(part, *config, "--source", source, "--output", str(output), *more)

    assert run("autoencoder", "frontal").exit_code == 0
    assert (output / WEIGHTS).is_file() and not recipe.run_dir.exists()
    published = tmp_path / "published.pth"
    torch.save({"model.diffusion_model.unet_text.out.0.bias": torch.zeros(2)}, published)
    for message, call in (
        (
            "'frontl' in the modalities of recipe 'tiny'; did you mean 'frontal'?",
            lambda: run("autoencoder", "frontl"),
        ),
        (
            "no folder nobody/nothing/vae here, and the hub cannot be reached",
            lambda: run("autoencoder", "frontal", source="nobody/nothing"),
        ),
        (
            "no weights at none.pth",
            lambda: run("denoiser", "report", "--part", "unet_text", source="none.pth"),
        ),
        ("encoder.tokenizer must be 'clip', got 'own'", lambda: run("encoder", "report")),
        (
            "autoencoder_tokenizers must name the tokenizers of BERT and GPT-2",
            lambda: run("autoencoder", "report"),
        ),
        (
            "tokenizer, a table's columns): prepare the data first. prepared folder",
            lambda: run("denoiser", "report", "--part", "unet_text", source=str(published)),
        ),
    ):
        assert message in str(call().exception)


def part_of_a_run(run, part, name, module, folder):
    """An imported folder with the weights of one of our own networks."""
    ledger = Ledger("ours", module.state_dict())
    for key in ledger.state:
        ledger.move(key, [key])
    write_part(module, ledger, folder, part, name)
    return folder


def report_encoder(trained, tmp_path):
    module = trained.shared_space().encoders["report"]
    return part_of_a_run(trained, "encoder", "report", module, tmp_path / "encoder")


def test_training_goes_on_from_imported_weights(tiny_run, tmp_path):
    """Stage 1 with one of its encoders, stage 2 with a denoiser: the rest starts as it would
    have."""
    recipe = copy_run(
        tiny_run, tmp_path / "run", without=("stage1", "stage2", "stage3", "pipeline", "cache")
    )
    trained = Run(tiny_run)
    encoder = report_encoder(trained, tmp_path)
    (checkpoint,) = start_stage(recipe, "stage1", [encoder])
    state = torch.load(checkpoint / "state.pt", weights_only=True)["model"]
    imported = load_file(encoder / WEIGHTS)
    for key, value in imported.items():
        assert torch.equal(state[f"space.encoders.report.{key}"], value)
    fresh = {k: v for k, v in state.items() if "encoders.tabular" in k}
    started = {
        k: v for k, v in trained.shared_space().state_dict().items() if "encoders.tabular" in k
    }
    assert fresh and any(
        not torch.equal(v, started[k.removeprefix("space.")]) for k, v in fresh.items()
    )
    train_stage(recipe, "stage1")
    assert load_config(recipe.run_dir / "stage1" / "export")["step"] == recipe.stage1.num_steps

    recipe.stage2.modality = "tabular"
    denoiser = trained.diffusion("tabular").denoiser
    folder = part_of_a_run(trained, "denoiser", "tabular", denoiser, tmp_path / "denoiser")
    (checkpoint,) = start_stage(recipe, "stage2", [folder])
    state = torch.load(checkpoint / "state.pt", weights_only=True)["model"]
    assert all(
        torch.equal(state[f"diffusion.denoiser.{k}"], v)
        for k, v in load_file(folder / WEIGHTS).items()
    )
    train_stage(recipe, "stage2")


def test_what_does_not_belong_is_refused(tiny_run, tmp_path):
    recipe = copy_run(tiny_run, tmp_path / "run", without=("stage2", "stage3", "pipeline", "cache"))
    trained = Run(tiny_run)
    denoiser = part_of_a_run(
        trained, "denoiser", "tabular", trained.diffusion("tabular").denoiser, tmp_path / "denoiser"
    )
    encoder = report_encoder(trained, tmp_path)
    with pytest.raises(
        ValueError, match="holds 'denoiser' weights, which start 'stage2', not 'stage1'"
    ):
        start_stage(recipe, "stage1", [denoiser])
    with pytest.raises(ValueError, match="has begun: remove it"):
        start_stage(recipe, "stage1", [encoder])
    recipe.stage2.modality = "report"
    with pytest.raises(ValueError, match="does not train now"):
        start_stage(recipe, "stage2", [denoiser])
    save_module(torch.nn.Linear(2, 2), tmp_path / "own", {})
    with pytest.raises(ValueError, match="which start 'no stage'"):
        start_stage(recipe, "stage1", [tmp_path / "own"])
