"""`medcodi data`: prepared folders."""

from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import console, show_table

data_app = typer.Typer(no_args_is_help=True, help="Prepared folders.")


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
        show_table(title, head, rows)
    if page is not None:
        console.print(f"page: {write_page(prepared, page)}")
