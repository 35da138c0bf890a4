"""`medcodi data`: prepared folders."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import console, show_counts, show_table
from medcodi.cli.options import file_to_write, folder_to_write

data_app = typer.Typer(no_args_is_help=True, help="Prepared folders.")


@data_app.command("show")
def data_show(
    prepared: Annotated[Path, typer.Argument(help="folder that `medcodi prepare` wrote")],
    page: Annotated[
        Path | None, file_to_write("also write one HTML page with sample images")
    ] = None,
) -> None:
    """Counts, missing values, lengths of reports, views and spacings; with --page also sample
    images."""
    from medcodi.data.show import describe, write_page

    for title, (head, *rows) in describe(prepared).items():
        show_table(title, head, rows)
    if page is not None:
        console.print(f"page: {write_page(prepared, page)}")


@data_app.command("merge")
def data_merge(
    folders: Annotated[
        list[str], typer.Argument(help="NAME=FOLDER of each source: its name, its prepared folder")
    ],
    output: Annotated[Path, folder_to_write("prepared folder to write")],
    table: Annotated[str, typer.Option(help="table that gets the source as a column")] = "tabular",
    column: Annotated[str, typer.Option(help="name of that column")] = "source",
    same_patients: Annotated[
        list[str] | None,
        typer.Option(help="A=B: source A names patients as source B does; repeatable"),
    ] = None,
    overwrite: bool = False,
) -> None:
    """Several prepared folders -> one: one schema, patients kept apart, the source as a column."""
    from medcodi.data.merge import merge_prepared

    named, same = _pairs(folders), _pairs(same_patients or [])
    counts = merge_prepared(named, output, table, column, same, overwrite)
    show_counts(f"merged {output}", counts)


def _pairs(texts: list[str]) -> dict[str, str]:
    """["a=b"] -> {"a": "b"}. Raises ValueError for another form and a name that stands twice."""
    pairs = [text.partition("=")[::2] for text in texts]
    for text, (left, right) in zip(texts, pairs, strict=True):
        if not left or not right:
            raise ValueError(f"expected NAME=FOLDER or NAME=NAME, got {text!r}")
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a name stands twice in {', '.join(texts)}")
    return dict(pairs)
