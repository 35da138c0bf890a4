"""`medcodi ...`: the groups of commands put together, and what users see of errors."""

import logging
import sqlite3
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import medcodi
from medcodi.cli.console import console
from medcodi.cli.data import data_app
from medcodi.cli.demo import serve_demo  # noqa: F401  registers the command
from medcodi.cli.evaluate import bench, evaluate_app
from medcodi.cli.generate import generate
from medcodi.cli.imports import import_app
from medcodi.cli.impute import impute
from medcodi.cli.label import label
from medcodi.cli.prepare import prepare_app
from medcodi.cli.privacy import privacy_app
from medcodi.cli.runs import runs
from medcodi.cli.table import table_app
from medcodi.cli.train import export, quickstart, train
from medcodi.cli.turing import serve_app, turing_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Any-to-any generation of chest X-ray studies. Not for clinical use.",
)
app.command()(quickstart)
app.add_typer(prepare_app, name="prepare")
app.add_typer(data_app, name="data")
app.command()(train)
app.command()(runs)
app.add_typer(import_app, name="import")
app.command()(export)
app.command()(generate)
app.command()(impute)
app.add_typer(table_app, name="table")
app.add_typer(evaluate_app, name="evaluate")
app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)(bench)
app.command()(label)
app.add_typer(privacy_app, name="privacy")
app.add_typer(turing_app, name="turing")
app.add_typer(serve_app, name="serve")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if show:
        console.print(medcodi.__version__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `medcodi` and of the scripts in train/, eval/ and scripts/: user errors are
    one line on stderr and exit code 1; an interrupted run is 130. Always ends with SystemExit."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "datasets", "transformers", "open_clip"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        app(arguments)
    except (ValueError, RuntimeError, OSError, sqlite3.Error) as error:
        message = escape(" ".join(str(error).split()) or type(error).__name__)
        Console(stderr=True).print(
            f"[bold red]error:[/] {message}", highlight=False, soft_wrap=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
