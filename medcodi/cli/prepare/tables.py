"""`medcodi prepare folder | table | phantom`: a csv file and its images, a table, the test body."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from medcodi.cli.console import console, show_counts, show_table
from medcodi.cli.options import folder_to_write
from medcodi.cli.prepare.options import Share

Output = Annotated[Path, folder_to_write("prepared folder to write")]


def folder(
    source: Annotated[Path, typer.Argument(help="folder with the csv file and the images")],
    mapping: Annotated[
        Path, typer.Option(help="column mapping, as in configs/sources/covid_cxr.yaml")
    ],
    output: Output,
    overwrite: bool = False,
) -> None:
    """A folder of images and a csv file, by a column mapping."""
    from medcodi.config_io import load_yaml
    from medcodi.sources import get_source

    counts = get_source("folder")(source, load_yaml(mapping), output, overwrite=overwrite)
    _show(output, counts)


def table(
    path: Annotated[Path, typer.Argument(help="csv, tsv, parquet or xlsx file")],
    output: Output,
    corrections: Annotated[
        Path | None,
        typer.Option(help="YAML: patient_id, missing, columns, as in configs/tables/oasis.yaml"),
    ] = None,
    name: Annotated[str, typer.Option(help="name of the table")] = "tabular",
    validation: Share = 0.1,
    test: Share = 0.1,
    overwrite: bool = False,
) -> None:
    """Any table: what its columns are is inferred and told, column by column. What can be read in
    two ways is refused; corrections go into a YAML file."""
    from medcodi.sources import get_source
    from medcodi.sources.tables import load_options

    def tell(decisions: list[Any]) -> None:
        head = ["column", "is", "because", "examples", "changed"]
        show_table(f"columns of {path}", head, [_decision(decision) for decision in decisions])

    options = load_options(name, corrections)
    counts = get_source("table")(path, options, output, validation, test, overwrite, tell)
    notes = json.loads((output / "prepared.json").read_text(encoding="utf-8"))["notes"]
    for told in notes["reading"]:
        console.print(told, markup=False, highlight=False)
    _show(output, counts)


def phantom(
    output: Output,
    num_studies: int = 4000,
    size: int = 64,
    seed: int = 0,
    num_processes: int = 2,
    visits: Annotated[int, typer.Option(help="studies of each patient")] = 1,
    exposure: Annotated[
        float, typer.Option(help="images are raised to this power: above 1 darker, below brighter")
    ] = 1.0,
    overwrite: bool = False,
) -> None:
    """The chest phantom: a test body with known truth, not clinical data."""
    from medcodi.sources.phantom import prepare_phantom

    options = {"overwrite": overwrite, "visits": visits, "exposure": exposure}
    counts = prepare_phantom(output, num_studies, size, seed, num_processes, **options)
    show_counts(f"prepared {output}", counts)


def _decision(decision: Any) -> list[str]:
    """A row of the table of columns: what was inferred of one, and why."""
    kind = decision.kind if decision.mapping else f"{decision.kind} (left out)"
    if decision.mapping and decision.mapping.is_discrete:
        shown = decision.mapping.categories
    else:
        shown = decision.examples
    kind = f"AMBIGUOUS {kind}" if decision.ambiguous else kind
    changed = "; ".join(decision.changed)
    cells = [decision.column, kind, decision.why, ", ".join(shown), changed]
    return [escape(cell) for cell in cells]


def _show(output: Path, counts: dict[str, Any]) -> None:
    show_counts(f"prepared {output}", counts)
    console.print(f"rejected values and their reasons: {output / 'rejects.csv'}")
