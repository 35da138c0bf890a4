"""`medcodi ...`: prepare, train, export, generate, quickstart."""

import importlib.metadata
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Any-to-any generation of chest X-ray studies. Not for clinical use.")  # fmt: skip
prepare_app = typer.Typer(no_args_is_help=True, help="Raw data -> prepared folder (Arrow).")
app.add_typer(prepare_app, name="prepare")
console = Console()


def _counts(title: str, counts: dict[str, Any]) -> None:
    table = Table(title=title)
    table.add_column("what")
    table.add_column("count", justify="right")
    for key, value in counts.items():
        table.add_row(key, str(value))
    console.print(table)


@prepare_app.command("folder")
def prepare_folder(
    source: Annotated[Path, typer.Argument(help="folder with the csv file and the images")],
    mapping: Annotated[Path, typer.Option(help="column mapping, as in configs/sources/covid_cxr.yaml")],
    output: Annotated[Path, typer.Option(help="prepared folder to write")],
    overwrite: bool = False,
) -> None:
    """A folder of images and a csv file, by a column mapping."""
    from medcodi.config import load_yaml
    from medcodi.data.sources import get_source

    counts = get_source("folder")(source, load_yaml(mapping), output, overwrite=overwrite)
    _counts(f"prepared {output}", counts)
    console.print(f"rejected values and their reasons: {output / 'rejects.csv'}")


@prepare_app.command("phantom")
def prepare_phantom(
    output: Annotated[Path, typer.Option(help="prepared folder to write")],
    num_studies: int = 4000, size: int = 64, seed: int = 0, num_processes: int = 2, overwrite: bool = False,
) -> None:  # fmt: skip
    """The chest phantom: a test body with known truth, not clinical data."""
    from medcodi.data.sources.phantom import prepare_phantom

    _counts(f"prepared {output}", prepare_phantom(output, num_studies, size, seed, num_processes, overwrite=overwrite))


@app.command()
def export(
    config: Annotated[Path, typer.Option(help="recipe YAML")],
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted overrides")] = None,
) -> None:
    """Assemble runs/NAME/pipeline from the finished stages of a recipe."""
    from medcodi.config import load_recipe
    from medcodi.export import assemble

    console.print(f"pipeline written to {assemble(load_recipe(config, overrides or []))}")


@app.command()
def generate(
    pipeline: Annotated[Path, typer.Option(help="pipeline folder")],
    output: Annotated[Path, typer.Option(help="folder to write PNG, TXT, CSV and manifest.json to")],
    prompt: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: a file, a text, or column=value;column=value; repeatable")
    ] = None,
    outputs: Annotated[str | None, typer.Option(help="comma-separated names; default: all that are not prompts")] = None,
    num_samples: Annotated[int, typer.Option(help="samples for each prompt row")] = 1,
    num_inference_steps: int = 25,
    guidance_scale: Annotated[float | None, typer.Option(help="default: the recipe's, per modality")] = None,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "cpu",
) -> None:
    """Generate any modalities from any others."""
    from medcodi.generate import generate_to_folder

    manifest = generate_to_folder(
        pipeline, output, prompt or [], outputs.split(",") if outputs else None, num_samples, num_inference_steps,
        guidance_scale, seed, batch_size, device,
    )  # fmt: skip
    console.print(f"{len(manifest['samples'])} samples of {', '.join(manifest['outputs'])} in {output}")


@app.command()
def quickstart(
    config: Annotated[Path, typer.Option(help="recipe YAML")] = Path("configs/phantom_tiny.yaml"),
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted overrides")] = None,
    num_evaluated: Annotated[int, typer.Option(help="held-out studies to measure on")] = 96,
) -> None:
    """The whole way once on the chest phantom: data, all stages, pipeline, generation, one page to look at."""
    from medcodi.quickstart import run_quickstart

    run_quickstart(config, overrides or [], num_evaluated, console)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    if show:
        console.print(importlib.metadata.version("medcodi"))


def main() -> None:
    """Entry point: user errors are one line on stderr and exit code 1; Ctrl-C is 130."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "datasets", "transformers", "open_clip"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        app()
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {error}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt as stop:
        Console(stderr=True).print(str(stop) or "interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
