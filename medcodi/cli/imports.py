"""`medcodi import`: weights that others trained, into a recipe's networks."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import console
from medcodi.cli.options import folder_to_write
from medcodi.cli.train import Overrides

import_app = typer.Typer(
    no_args_is_help=True,
    help="Foreign weights into a recipe: Stable Diffusion, CLIP, BERT and GPT-2, or a published "
    "MedCoDi-M / CoDi .pth. Every key is accounted for, on the screen and in keys.json.",
)
Config = Annotated[str, typer.Option(help="recipe YAML, or the name of a shipped one")]
ModalityName = Annotated[str, typer.Option(help="a name of the recipe")]
Source = Annotated[str, typer.Option(help="folder, hub name or weight file")]
Output = Annotated[Path, folder_to_write("folder to write")]


@import_app.command()
def autoencoder(
    config: Config,
    modality: ModalityName,
    source: Source,
    output: Output,
    decoder: Annotated[
        str | None, typer.Option(help="folder or hub name of GPT-2, for a report")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """A Stable Diffusion VAE for an image, BERT and GPT-2 for a report."""
    from medcodi.foreign import import_autoencoder

    _show(import_autoencoder(_family(config, overrides), modality, source, output, decoder))


@import_app.command()
def encoder(
    config: Config,
    modality: ModalityName,
    source: Source,
    output: Output,
    overrides: Overrides = None,
) -> None:
    """A tower of CLIP as prompt encoder."""
    from medcodi.foreign import import_encoder

    _show(import_encoder(_family(config, overrides), modality, source, output))


@import_app.command()
def denoiser(
    config: Config,
    modality: ModalityName,
    source: Source,
    output: Output,
    part: Annotated[
        str | None, typer.Option(help="U-Net of a published .pth, such as unet_text")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """The U-Net of Stable Diffusion or of a published model."""
    from medcodi.foreign import import_denoiser

    _show(import_denoiser(_family(config, overrides), modality, source, output, part))


@import_app.command()
def start(
    config: Config,
    stage: Annotated[str, typer.Option(help="autoencoder, stage1, stage2 or stage3")],
    weights: Annotated[list[Path] | None, typer.Option(help="imported folder; repeatable")] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="folder or name of a pipeline, such as phantom")
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Put imported weights, or those of a pipeline, under a stage that has not begun. Needs the
    prepared data."""
    import medcodi.modalities  # noqa: F401  registers the kinds
    from medcodi.config import STAGES
    from medcodi.config_io import load_recipe, unknown_key
    from medcodi.recipes import find_recipe

    stages = STAGES if pipeline else STAGES[:3]
    if stage not in stages:
        raise unknown_key(stage, stages, "the stages that weights may start")
    if bool(weights) == bool(pipeline):
        raise ValueError("give imported folders by --weights, or a pipeline by --pipeline")
    recipe = load_recipe(find_recipe(config), overrides or [], stage)
    for path in _start(recipe, stage, weights or [], pipeline):
        console.print(f"written: {path}")


def _start(recipe, stage: str, weights: list[Path], pipeline: str | None) -> list[Path]:
    if pipeline is None:
        from medcodi.foreign import start_stage

        return start_stage(recipe, stage, weights)
    from medcodi.pipeline import MedCoDiPipeline
    from medcodi.start import start_from_pipeline

    return start_from_pipeline(recipe, stage, MedCoDiPipeline.from_pretrained(pipeline), pipeline)


def _family(config: str, overrides: list[str] | None):  # a ModelFamily
    import medcodi.modalities  # noqa: F401  registers the kinds
    from medcodi.config_io import load_recipe
    from medcodi.foreign import family_of
    from medcodi.recipes import find_recipe

    return family_of(load_recipe(find_recipe(config), overrides or []))


def _show(report: dict) -> None:
    from medcodi.foreign.ledger import summary

    typer.echo(summary(report))
