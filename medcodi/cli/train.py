"""`medcodi train STAGE`, `export`, `quickstart`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import console, show_table
from medcodi.recipes import DEFAULT, QUICKSTART, about, find_recipe, shipped

logger = logging.getLogger(__name__)

INTERRUPTED = 130  # exit code
Config = Annotated[
    str | None, typer.Option(help="recipe YAML, or the name of a shipped one; see the list")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="dotted overrides, such as optim.lr=1e-4")
]


def chosen(config: str | None) -> Path:
    """The recipe's file; without one, says which recipes there are and takes the default."""
    if config is None:
        rows = [[name, about(path)] for name, path in shipped().items()]
        show_table("recipes", ["--config", "what"], rows)
        console.print(f"no --config: taking {DEFAULT}")
    return find_recipe(config or DEFAULT)


def train(
    stage: Annotated[str, typer.Argument(help="autoencoder, stage1, stage2 or stage3")],
    overrides: Overrides = None,
    config: Config = None,
) -> None:
    """Train a stage of a recipe. The same command again resumes, or does nothing when the stage is
    complete.

    Several processes: accelerate launch -m medcodi.train STAGE --config RECIPE.
    """
    import medcodi.modalities  # noqa: F401  registers the kinds
    from medcodi.config import STAGES
    from medcodi.config_io import load_recipe, unknown_key
    from medcodi.sources.phantom import render_missing
    from medcodi.training.interrupt import TrainingInterrupted
    from medcodi.training.tasks import train_stage

    if stage not in STAGES:
        raise unknown_key(stage, STAGES, "the stages")
    try:
        recipe = load_recipe(chosen(config), overrides or [], stage)
        render_missing(recipe.data)
        if recipe.adapters.base:
            from medcodi.adapters import train_adapters

            train_adapters(recipe, stage)
        else:
            train_stage(recipe, stage)
    except TrainingInterrupted as stop:  # a KeyboardInterrupt, of which typer would drop the text
        logger.warning("%s", stop)
        raise typer.Exit(INTERRUPTED) from stop


STORED = ("float32", "bfloat16")


def export(
    overrides: Overrides = None,
    config: Config = None,
    dtype: Annotated[
        str, typer.Option(help="of the weights on disk: float32, or bfloat16 at half the size")
    ] = "float32",
) -> None:
    """Assemble runs/NAME/pipeline from the finished stages of a recipe, with a model card."""
    import torch

    from medcodi.config_io import load_recipe, unknown_key
    from medcodi.export import assemble

    if dtype not in STORED:
        raise unknown_key(dtype, STORED, "--dtype")
    folder = assemble(load_recipe(chosen(config), overrides or []), dtype=getattr(torch, dtype))
    console.print(f"pipeline written to {folder}")


def quickstart(
    overrides: Overrides = None,
    config: Annotated[str, typer.Option(help="recipe on the phantom")] = QUICKSTART,
    pipeline: Annotated[str, typer.Option(help="trained pipeline of this recipe")] = QUICKSTART,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="train every stage; says how long it takes")
    ] = False,
    num_evaluated: Annotated[int, typer.Option(help="held-out studies to measure on")] = 48,
) -> None:
    """A trained pipeline on the chest phantom: generated studies and figures on one page, and a
    short training of every stage from its weights."""
    from medcodi.quickstart import run_from_scratch, run_quickstart

    if from_scratch and pipeline != QUICKSTART:
        raise ValueError("--from-scratch trains every stage: it takes no --pipeline")
    recipe = chosen(config)
    if not from_scratch:
        run_quickstart(pipeline, recipe, overrides or [], num_evaluated, console)
        return
    console.print(f"from scratch. {config}: {about(recipe)}")
    run_from_scratch(recipe, overrides or [], num_evaluated, console)
