"""`medcodi ...`: prepare, train, export, generate, quickstart."""

import importlib.metadata
import logging
import sqlite3
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medcodi.cli.prepare import prepare_app, show_counts

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Any-to-any generation of chest X-ray studies. Not for clinical use.",
)
app.add_typer(prepare_app, name="prepare")
data_app = typer.Typer(no_args_is_help=True, help="Prepared folders.")
app.add_typer(data_app, name="data")
turing_app = typer.Typer(
    no_args_is_help=True, help="The visual Turing test: make a study, report its ratings."
)
app.add_typer(turing_app, name="turing")
serve_app = typer.Typer(no_args_is_help=True, help="Local web pages.")
app.add_typer(serve_app, name="serve")
console = Console()


@data_app.command("show")
def data_show(
    prepared: Annotated[Path, typer.Argument(help="folder that `medcodi prepare` wrote")],
    page: Annotated[
        Path | None, typer.Option(help="also write one HTML page with sample images")
    ] = None,
) -> None:
    """Counts, missing values, lengths of reports, views and spacings; with --page also sample
    images."""
    from medcodi.data.show import describe, write_page

    for title, (head, *rows) in describe(prepared).items():
        table = Table(*head, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if page is not None:
        console.print(f"page: {write_page(prepared, page)}")


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
    output: Annotated[Path, typer.Option(help="folder to write the studies and manifest.json to")],
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE: a file, a text, or column=value;column=value; repeatable"),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(help="comma-separated names; default: all that are not prompts")
    ] = None,
    format: Annotated[str, typer.Option(help="png, dicom, dicom-dx, imagefolder or fhir")] = "png",
    num_samples: Annotated[int, typer.Option(help="samples for each prompt row")] = 1,
    num_inference_steps: int = 25,
    guidance_scale: Annotated[
        float | None, typer.Option(help="default: the recipe's, per modality")
    ] = None,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "cpu",
    shard: Annotated[
        str, typer.Option(help="K/N: the K-th part (from 0) of N processes that share the folder")
    ] = "0/1",
    pixel_spacing: Annotated[
        float | None, typer.Option(help="side of a pixel in mm, for DICOM")
    ] = None,
    studies: Annotated[
        Path | None,
        typer.Option(help="prepared folder whose studies are the prompts, one row each"),
    ] = None,
    split: Annotated[str, typer.Option(help="with --studies: train, validation or test")] = "test",
    given: Annotated[
        str,
        typer.Option(help="with --studies: comma-separated names of the values that are prompts"),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(help="with --studies: the first so many that have the given values"),
    ] = None,
    solver: Annotated[
        str | None, typer.Option(help="ddim, euler, dpm++ or unipc; default: the model's own")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="of the diffusion networks: float32, bfloat16 or float16")
    ] = None,
    guidance_interval: Annotated[
        str | None,
        typer.Option(
            help="LOW,HIGH: the noise levels that are guided; 0,1: all; default: the recipe's"
        ),
    ] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="torch.compile of the denoisers, for long runs")
    ] = False,
) -> None:
    """Generate any modalities from any others. The same command again continues a run that was
    stopped."""
    from medcodi.generation.run import Request, generate_to_folder, parse_interval, parse_shard

    manifest = generate_to_folder(
        Request(
            pipeline,
            output,
            prompt or [],
            outputs.split(",") if outputs else None,
            format,
            num_samples,
            num_inference_steps,
            guidance_scale,
            seed,
            batch_size,
            device,
            parse_shard(shard),
            pixel_spacing,
            studies,
            split,
            [name for name in given.split(",") if name],
            limit,
            solver,
            dtype,
            parse_interval(guidance_interval) if guidance_interval else None,
            compile,
        )
    )
    if manifest is None:
        console.print(f"shard {shard} is finished; manifest.json follows when all are")
    else:
        console.print(
            f"{len(manifest['samples'])} samples of {', '.join(manifest['outputs'])} in {output}"
        )


@app.command()
def label(
    reports: Annotated[Path, typer.Argument(help="csv (UTF-8) with the columns id and text")],
    output: Annotated[
        Path,
        typer.Option(
            help="csv to write: id, and 1, 0, -1 (uncertain) or empty for each observation"
        ),
    ],
    vocabulary: Annotated[
        str, typer.Option(help="chexpert, chestxray14 or the path of a YAML file")
    ] = "chexpert",
) -> None:
    """Which findings do radiology reports affirm, deny, hedge or not mention?"""
    from medcodi.labeler.files import label_file

    counts = label_file(reports, output, vocabulary)
    show_counts(
        f"labels in {output} (positive / negative / uncertain)",
        {
            **{
                key: counts[key] for key in ("reports", "without_text", "repeated_ids", "blank_ids")
            },
            **{
                name: " / ".join(map(str, found.values()))
                for name, found in counts["observations"].items()
            },
        },
    )


@turing_app.command("make")
def turing_make(
    real: Annotated[
        Path,
        typer.Argument(help="prepared folder, or a folder of files ID_NAME.png and ID_NAME.txt"),
    ],
    output: Annotated[Path, typer.Option(help="study folder to write")],
    generated: Annotated[
        list[Path],
        typer.Option(help="folder of `medcodi generate`, or of files ID_NAME.*; repeatable"),
    ],
    split: str = "test",
    names: Annotated[
        str, typer.Option(help="names of the frontal image, lateral image, report")
    ] = "frontal,lateral,report",
    num_items: Annotated[
        int, typer.Option(help="items of each of the five tasks, half of them synthetic")
    ] = 20,
    num_readers: int = 3,
    size: Annotated[
        int | None,
        typer.Option(help="side of the shown images in pixels; default: of the smallest"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="default: drawn; who knows it can work out the items")
    ] = None,
) -> None:
    """Choose real and synthetic items and encode them alike. Prints one code for each reader."""
    from medcodi.turing.study import make_study
    from medcodi.turing.tasks import LABELS

    fields = [name.strip() for name in names.split(",")]
    if len(fields) != 3:
        raise ValueError(f"--names takes three names, got {names!r}")
    named = dict(zip(LABELS, fields, strict=True))
    codes = make_study(real, generated, output, named, split, num_items, num_readers, size, seed)
    console.print(
        f"study in {output}; reader codes: {', '.join(codes)}\nstart it with: medcodi serve turing "
        f"{output}"
    )


@turing_app.command("report")
def turing_report(
    study: Annotated[Path, typer.Argument(help="study folder")],
    output: Annotated[
        Path | None, typer.Option(help="folder for turing.json and turing.md; default: the study")
    ] = None,
    num_resamples: int = 1000,
) -> None:
    """Mean +- sd of real and synthetic items by task, with intervals and the readers' agreement."""
    from medcodi.turing.report import NOTE, report, table, write_report

    figures = report(study, num_resamples)
    write_report(figures, output or study)
    head, *rows = table(figures)
    shown = Table(*head, title="Visual Turing test")
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    console.print(NOTE)


@serve_app.command("turing")
def serve_turing(
    study: Annotated[Path, typer.Argument(help="study folder that `medcodi turing make` wrote")],
    host: Annotated[
        str, typer.Option(help="address to listen at; without encryption")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free")] = 8765,
) -> None:
    """Serve the page of a visual Turing test. Stop with Ctrl-C; every rating is on disk when the
    page says so."""
    from medcodi.turing.server import TuringServer

    with TuringServer(study, host, port) as server:
        console.print(f"reading study at {server.url} (stop with Ctrl-C)")
        server.serve_forever()


@app.command()
def quickstart(
    config: Annotated[Path, typer.Option(help="recipe YAML")] = Path("configs/phantom_tiny.yaml"),
    overrides: Annotated[list[str] | None, typer.Argument(help="dotted overrides")] = None,
    num_evaluated: Annotated[int, typer.Option(help="held-out studies to measure on")] = 96,
) -> None:
    """The whole way once on the chest phantom: data, all stages, pipeline, generation, one page to
    look at."""
    from medcodi.quickstart import run_quickstart

    run_quickstart(config, overrides or [], num_evaluated, console)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if show:
        console.print(importlib.metadata.version("medcodi"))


def main() -> None:
    """Entry point: user errors are one line on stderr and exit code 1; Ctrl-C is 130."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "datasets", "transformers", "open_clip"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        app()
    except (ValueError, RuntimeError, OSError, sqlite3.Error) as error:
        message = escape(" ".join(str(error).split()) or type(error).__name__)
        Console(stderr=True).print(
            f"[bold red]error:[/] {message}", highlight=False, soft_wrap=True
        )
        sys.exit(1)
    except KeyboardInterrupt as stop:
        Console(stderr=True).print(str(stop) or "interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
