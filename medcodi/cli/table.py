"""`medcodi table`: a table alone, learnt, sampled and filled in."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medcodi.cli.console import console
from medcodi.cli.options import file_to_write, folder_to_write

if TYPE_CHECKING:
    import pandas as pd

table_app = typer.Typer(
    no_args_is_help=True, help="A table alone: learn it, draw rows, fill its gaps."
)
Model = Annotated[Path, typer.Argument(help="folder that `medcodi table fit` wrote")]
Output = Annotated[Path, file_to_write("csv, tsv, parquet or xlsx file to write")]
Seed = Annotated[int, typer.Option(help="the same seed draws the same rows")]


@table_app.command()
def fit(
    path: Annotated[Path, typer.Argument(help="csv, tsv, parquet or xlsx file")],
    output: Annotated[Path, folder_to_write("folder of the model to write")],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML with columns, constraints, on_broken, forest, all optional"),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="replace a model that is there")] = False,
    seed: Seed = 0,
) -> None:
    """Learn a table: what each column is, how columns depend on each other, and constraints that
    every row will keep."""
    from medcodi.config_io import load_yaml, unknown_key
    from medcodi.tabular import TabularSynthesizer

    given = load_yaml(config) if config else {}
    valid = ("columns", "constraints", "on_broken", "forest")
    for key in given:
        if key not in valid:
            raise unknown_key(key, valid, str(config))
    synthesizer = TabularSynthesizer(**given).fit(_read(path), seed)
    for name, told in synthesizer.report["columns"].items():
        console.print(f"{name}: {told}", markup=False, highlight=False)
    for name, count in synthesizer.report["rows that break a constraint"].items():
        console.print(f"{count} rows break {name}", markup=False, highlight=False)
    synthesizer.save(output, overwrite)
    console.print(f"wrote {output}", markup=False, highlight=False)


@table_app.command()
def sample(
    model: Model,
    n: Annotated[int, typer.Argument(help="how many rows")],
    output: Output,
    given: Annotated[
        str, typer.Option(help="columns that are given, `column=value;column=value`")
    ] = "",
    seed: Seed = 0,
) -> None:
    """Draw new rows; what is given is kept to the value. Rows are written as they are drawn."""
    from medcodi.tabular import TabularSynthesizer
    from medcodi.tabular.writing import check_table, number_columns

    check_table(output, n)
    synthesizer = TabularSynthesizer.load(model)
    blocks = synthesizer.sample_batches(n, _pairs(given), seed)
    _write(blocks, output, number_columns(synthesizer.columns))


@table_app.command()
def impute(
    model: Model,
    path: Annotated[Path, typer.Argument(help="table with gaps")],
    output: Output,
    seed: Seed = 0,
) -> None:
    """Fill the gaps of a table; what is there is not touched: all cells are texts as in the
    file."""
    from medcodi.tabular import TabularSynthesizer
    from medcodi.tabular.writing import check_table

    check_table(output)
    _write([TabularSynthesizer.load(model).impute(_read(path), seed)], output)


def _read(path: Path) -> "pd.DataFrame":
    from medcodi.sources.reading import read_table

    frame = read_table(path)
    left_out = [f"{item} is left out: {why}" for item, why in frame.attrs["left_out"].items()]
    for told in [*frame.attrs["notes"], *left_out]:
        console.print(told, markup=False, highlight=False)
    return frame.replace("", None)


def _pairs(text: str) -> dict[str, Any]:
    pairs = {}
    for part in filter(str.strip, text.split(";")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"--given is `column=value;column=value`, got {part!r}")
        pairs[key.strip()] = value.strip()
    return pairs


def _write(
    blocks: Iterable["pd.DataFrame"], output: Path, numbers: dict[str, str] | None = None
) -> None:
    from medcodi.tabular.writing import write_table

    count = write_table(output, blocks, numbers)
    console.print(f"wrote {count} rows to {output}", markup=False, highlight=False)
