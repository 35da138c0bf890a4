"""Rows to a csv, tsv, parquet or xlsx file, block by block: no more than a block is held, and the
file is there whole or not at all.

A block is a frame as the synthesizer gives it; all blocks of a file have the same columns.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medcodi.files import written
from medcodi.sources.reading import frame_of_texts
from medcodi.tabular.frame import MODELLED, TEXT, UserColumn

SHEET_ROWS = 1_048_576  # of a sheet of a workbook, its header among them
WHOLE, NUMBER = "Int64", "float64"


def check_table(path: str | Path, num_rows: int | None = None) -> None:
    """Raises ValueError for a suffix that no writer has, for a workbook without openpyxl, and for
    more rows than a sheet holds."""
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(
            f"output {path}: the suffix says the format, one of {', '.join(WRITERS)}, got "
            f"{path.suffix!r}"
        )
    if path.suffix.lower() != ".xlsx":
        return
    if num_rows is not None and num_rows >= SHEET_ROWS:
        raise ValueError(
            f"output {path}: a sheet holds {SHEET_ROWS - 1} rows below its header, got {num_rows}: "
            "write csv, tsv or parquet"
        )
    try:
        import openpyxl  # noqa: F401
    except ImportError:
        raise ValueError("workbooks need openpyxl: pip install 'medcodi[xlsx]'") from None


def write_table(
    path: str | Path, blocks: Iterable[pd.DataFrame], numbers: Mapping[str, str] | None = None
) -> int:
    """Write `blocks` (one or more) to `path`, in the format that its suffix says; how many rows.
    `numbers`: columns of texts that are numbers where the format has numbers (`number_columns`).

    Dates and durations are texts but in parquet. Raises ValueError as `check_table`, OSError where
    the disk takes no more.
    """
    path, count = Path(path), 0
    check_table(path)

    def counted() -> Iterator[pd.DataFrame]:
        nonlocal count
        for block in blocks:
            count += len(block)
            check_table(path, count)
            yield block

    with written(path) as temporary:
        WRITERS[path.suffix.lower()](temporary, counted(), numbers or {})
    return count


def number_columns(columns: Sequence[UserColumn]) -> dict[str, str]:
    """The columns that come back as texts since they were read as texts, though their cells are
    plain numbers -> the type of these."""
    return {
        user.name: WHOLE if user.column.type == "integer" else NUMBER
        for user in columns
        if user.role == MODELLED and user.dtype == TEXT and user.column.shows_number
    }


def _write_csv(
    path: Path, blocks: Iterable[pd.DataFrame], numbers: Mapping[str, str], separator: str = ","
) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        for number, block in enumerate(blocks):
            _with_texts(block).to_csv(file, sep=separator, index=False, header=not number)


def _write_tsv(path: Path, blocks: Iterable[pd.DataFrame], numbers: Mapping[str, str]) -> None:
    _write_csv(path, blocks, numbers, "\t")


def _write_parquet(path: Path, blocks: Iterable[pd.DataFrame], numbers: Mapping[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    typed = (_for_parquet(_with_numbers(block, numbers)) for block in blocks)
    first = next(typed)
    schema = pa.Schema.from_pandas(first, preserve_index=False)
    for number, field in enumerate(schema):
        if pa.types.is_null(field.type):  # no cell of the first block says more
            schema = schema.set(number, field.with_type(pa.string()))
    with pq.ParquetWriter(path, schema) as writer:
        for block in itertools.chain([first], typed):
            writer.write_table(pa.Table.from_pandas(block, schema, preserve_index=False))


def _write_workbook(path: Path, blocks: Iterable[pd.DataFrame], numbers: Mapping[str, str]) -> None:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("rows")

    def cell(value: Any) -> Any:
        if not isinstance(value, str) or not value.startswith("="):
            return value
        plain = WriteOnlyCell(sheet, value)
        plain.data_type = "s"  # a text, no formula
        return plain

    for number, block in enumerate(blocks):
        if not number:
            sheet.append([cell(str(name)) for name in block.columns])
        shown = _with_numbers(_with_texts(block), numbers).astype(object)
        for row in shown.where(shown.notna(), None).itertuples(index=False, name=None):
            sheet.append([cell(value) for value in row])
    book.save(path)


WRITERS: dict[str, Callable[[Path, Iterable[pd.DataFrame], Mapping[str, str]], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".parquet": _write_parquet,
    ".xlsx": _write_workbook,
}


def _with_texts(block: pd.DataFrame) -> pd.DataFrame:
    """`block` with its dates and durations as texts, each by itself: pandas writes those of a whole
    column alike, so that the cells of one block would say how those of another look."""
    moments = {name: cells for name, cells in block.items() if cells.dtype.kind == "M"}
    spans = {name: cells for name, cells in block.items() if cells.dtype.kind == "m"}
    texts = frame_of_texts(moments) if moments else pd.DataFrame(index=range(len(block)))
    made = {name: texts[name].replace("", None).to_numpy() for name in moments}
    made |= {name: cells.map(str, na_action="ignore").to_numpy() for name, cells in spans.items()}
    return _changed(block, made)


def _with_numbers(block: pd.DataFrame, numbers: Mapping[str, str]) -> pd.DataFrame:
    made = {name: pd.to_numeric(block[name]).astype(kind) for name, kind in numbers.items()}
    return _changed(block, made)


def _for_parquet(block: pd.DataFrame) -> pd.DataFrame:
    """`block` with columns whose type is that of every other block: objects are texts, and a
    Categorical of numbers, whose levels may grow, is numbers."""
    made: dict[Any, Any] = {}
    for name, cells in block.items():
        if isinstance(cells.dtype, pd.CategoricalDtype):
            kind = cells.dtype.categories.dtype.kind
            if kind in "iuf":
                made[name] = cells.astype(object).astype(NUMBER if kind == "f" else WHOLE)
        elif cells.dtype.kind == "O":
            made[name] = cells.map(str, na_action="ignore")
    return _changed(block, made)


def _changed(block: pd.DataFrame, columns: Mapping[Any, Any]) -> pd.DataFrame:
    block = block.copy(deep=False)
    for name, cells in columns.items():
        block[name] = cells
    return block
