"""`medcodi turing make | report`, `medcodi serve turing`: the visual Turing test; `medcodi serve
demo`."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import console, show_table
from medcodi.cli.options import folder_to_write

turing_app = typer.Typer(
    no_args_is_help=True, help="The visual Turing test: make a study, report its ratings."
)
serve_app = typer.Typer(no_args_is_help=True, help="Local web pages.")


@turing_app.command("make")
def turing_make(
    real: Annotated[
        Path,
        typer.Argument(help="prepared folder, or a folder of files ID_NAME.png and ID_NAME.txt"),
    ],
    output: Annotated[Path, folder_to_write("study folder to write")],
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
    arm: Annotated[
        str,
        typer.Option(help="rating: 1 to 5; choice: real or made by a computer, and how sure"),
    ] = "rating",
) -> None:
    """Choose real and synthetic items and encode them alike. Prints one code for each reader."""
    from medcodi.turing.study import make_study
    from medcodi.turing.tasks import LABELS

    fields = [name.strip() for name in names.split(",")]
    if len(fields) != 3:
        raise ValueError(f"--names takes three names, got {names!r}")
    named = dict(zip(LABELS, fields, strict=True))
    codes = make_study(
        real, generated, output, named, split, num_items, num_readers, size, seed, arm
    )
    console.print(
        f"study in {output}; reader codes: {', '.join(codes)}\nstart it with: medcodi serve turing "
        f"{output}"
    )


@turing_app.command("report")
def turing_report(
    study: Annotated[Path, typer.Argument(help="study folder")],
    output: Annotated[
        Path | None, folder_to_write("folder for turing.json and turing.md; default: the study")
    ] = None,
    num_resamples: int = 1000,
) -> None:
    """Mean +- sd of real and synthetic items by task, or the share of right choices, with intervals
    and the readers' agreement."""
    from medcodi.turing.report import note, report, table, write_report

    figures = report(study, num_resamples)
    write_report(figures, output or study)
    head, *rows = table(figures)
    show_table("Visual Turing test", head, rows)
    console.print(note(figures))


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
