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
data_app = typer.Typer(no_args_is_help=True, help="Prepared folders.")
app.add_typer(data_app, name="data")
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


@prepare_app.command("dicom")
def prepare_dicom(
    source: Annotated[Path, typer.Argument(help="folder tree with DICOM files, and reports beside them")],
    output: Annotated[Path, typer.Option(help="prepared folder to write; the same call again reads new files only")],
    size: Annotated[int, typer.Option(help="pixels of a side of the prepared images")] = 256,
    window: Annotated[bool, typer.Option(help="apply the VOI LUT or the first window where present")] = True,
    modalities: Annotated[str, typer.Option(help="values of Modality to take; empty: all")] = "CR,DX,RG,OT",
    body_parts: Annotated[str, typer.Option(help="values of BodyPartExamined to take; empty: all")] = "CHEST,THORAX,LUNG",
    sections: Annotated[str, typer.Option(help="concept names of a structured report to take; empty: all")] = "",
    names: Annotated[str, typer.Option(help="names of the frontal image, lateral image, report")] = "frontal,lateral,report",
    private: Annotated[Path | None, typer.Option(help="key, state and rejected paths; default: OUTPUT.private")] = None,
    key: Annotated[Path | None, typer.Option(help="file with the key of the hashes; also MEDCODI_PATIENT_KEY")] = None,
    num_workers: Annotated[int | None, typer.Option(help="processes; default: one a core")] = None,
    timeout: Annotated[float, typer.Option(help="seconds for one file")] = 120.0,
    overwrite: bool = False,
) -> None:
    """Any tree of DICOM files: greyscale chest radiographs and structured or text reports, by StudyInstanceUID."""
    from medcodi.data.sources import get_source

    fields = [name.strip() for name in names.split(",")]
    if len(fields) != 3:
        raise ValueError(f"--names takes three names, got {names!r}")
    lists = {"modalities": modalities, "body_parts": body_parts, "sections": sections}
    options = {
        **dict(zip(("front", "side", "text"), fields, strict=True)), "size": size, "window": window, "timeout": timeout,
        **{name: [one for one in value.split(",") if one.strip()] for name, value in lists.items()},
    }  # fmt: skip
    counts = get_source("dicom")(source, options, output, private, key, num_workers, overwrite=overwrite)
    _counts(f"prepared {output}", counts)
    where = private or output.with_name(f"{output.name}.private")
    console.print(f"rejected files and their reasons: {where / 'rejects.csv'} (with paths: keep it private)")


@prepare_app.command("phantom")
def prepare_phantom(
    output: Annotated[Path, typer.Option(help="prepared folder to write")],
    num_studies: int = 4000, size: int = 64, seed: int = 0, num_processes: int = 2, overwrite: bool = False,
) -> None:  # fmt: skip
    """The chest phantom: a test body with known truth, not clinical data."""
    from medcodi.data.sources.phantom import prepare_phantom

    _counts(f"prepared {output}", prepare_phantom(output, num_studies, size, seed, num_processes, overwrite=overwrite))


@data_app.command("show")
def data_show(
    prepared: Annotated[Path, typer.Argument(help="folder that `medcodi prepare` wrote")],
    page: Annotated[Path | None, typer.Option(help="also write one HTML page with sample images")] = None,
) -> None:
    """Counts, missing values, lengths of reports, views and spacings; with --page also sample images."""
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
        list[str] | None, typer.Option(help="NAME=VALUE: a file, a text, or column=value;column=value; repeatable")
    ] = None,
    outputs: Annotated[str | None, typer.Option(help="comma-separated names; default: all that are not prompts")] = None,
    format: Annotated[str, typer.Option(help="png, dicom, dicom-dx, imagefolder or fhir")] = "png",
    num_samples: Annotated[int, typer.Option(help="samples for each prompt row")] = 1,
    num_inference_steps: int = 25,
    guidance_scale: Annotated[float | None, typer.Option(help="default: the recipe's, per modality")] = None,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "cpu",
    shard: Annotated[str, typer.Option(help="K/N: the K-th part (from 0) of N processes that share the folder")] = "0/1",
    pixel_spacing: Annotated[float | None, typer.Option(help="side of a pixel in mm, for DICOM")] = None,
) -> None:
    """Generate any modalities from any others. The same command again continues a run that was stopped."""
    from medcodi.generate import Request, generate_to_folder, parse_shard

    manifest = generate_to_folder(Request(
        pipeline, output, prompt or [], outputs.split(",") if outputs else None, format, num_samples,
        num_inference_steps, guidance_scale, seed, batch_size, device, parse_shard(shard), pixel_spacing,
    ))  # fmt: skip
    if manifest is None:
        console.print(f"shard {shard} is finished; manifest.json follows when all are")
    else:
        console.print(f"{len(manifest['samples'])} samples of {', '.join(manifest['outputs'])} in {output}")


@app.command()
def label(
    reports: Annotated[Path, typer.Argument(help="csv (UTF-8) with the columns id and text")],
    output: Annotated[Path, typer.Option(help="csv to write: id, and 1, 0, -1 (uncertain) or empty for each observation")],
    vocabulary: Annotated[str, typer.Option(help="chexpert, chestxray14 or the path of a YAML file")] = "chexpert",
) -> None:
    """Which findings do radiology reports affirm, deny, hedge or not mention?"""
    from medcodi.metrics.labeler.files import label_file

    counts = label_file(reports, output, vocabulary)
    _counts(f"labels in {output} (positive / negative / uncertain)", {
        **{key: counts[key] for key in ("reports", "without_text", "repeated_ids", "blank_ids")},
        **{name: " / ".join(map(str, found.values())) for name, found in counts["observations"].items()},
    })  # fmt: skip


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
