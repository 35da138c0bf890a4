"""`medcodi impute`: what is absent in a prepared folder, filled in."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import show_counts
from medcodi.cli.options import folder_to_write


def impute(
    prepared: Annotated[Path, typer.Argument(help="folder that `medcodi prepare` wrote")],
    output: Annotated[Path, folder_to_write("prepared folder to write")],
    pipeline: Annotated[Path, typer.Option(help="folder of the pipeline")],
    fill: Annotated[
        str | None,
        typer.Option(help="comma-separated names; default: all that folder and pipeline share"),
    ] = None,
    num_inference_steps: Annotated[int, typer.Option(help="steps of the sampler")] = 25,
    guidance_scale: Annotated[
        float | None, typer.Option(help="default: the recipe's, per modality")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the run; every study has its own from it")] = 0,
    batch_size: Annotated[int, typer.Option(help="studies at once")] = 32,
) -> None:
    """Fill in missing columns, missing views and missing reports. What is there is not touched, and
    imputed.csv in the new folder lists all that was generated. The same command again goes on where
    a run was stopped."""
    from medcodi.cli.processes import launched_device
    from medcodi.generation.impute import Settings
    from medcodi.generation.impute import impute as fill_folder
    from medcodi.generation.request import parse_names
    from medcodi.pipeline import MedCoDiPipeline

    pipe = MedCoDiPipeline.from_pretrained(pipeline).to(launched_device())
    pipe.set_progress_bar_config(disable=True)
    names = None if fill is None else parse_names(fill)
    settings = Settings(names, num_inference_steps, guidance_scale, seed, batch_size)
    show_counts(f"imputed {output}", fill_folder(prepared, output, pipe, settings))
