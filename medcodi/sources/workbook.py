"""A sheet of a workbook (xlsx, xlsm) -> rows of cells, as a person sees them."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

EXAMPLES = 3


def read_sheet(path: Path, sheet: str = "") -> tuple[list[list[Any]], list[str]]:
    """(rows with any cell, notes). A cell that is merged down its column stands in each of its
    rows, which is told.

    Raises ValueError for what is no workbook, for several sheets without `sheet`, for cells merged
    across columns below the first row that has one, and for formulas whose value the file does not
    hold.
    """
    try:
        import openpyxl
    except ImportError:
        raise ValueError("workbooks need openpyxl: pip install 'medcodi[xlsx]'") from None
    try:
        book = openpyxl.load_workbook(path, data_only=True)
        full = [one.title for one in book.worksheets if one.max_row > 1 or one["A1"].value]
        if sheet and sheet not in book.sheetnames:
            raise ValueError(f"it has no sheet {sheet!r}; there are {book.sheetnames}")
        if not sheet and len(full) != 1:
            raise ValueError(f"it has the sheets {full}: name one as `sheet`")
        chosen = book[sheet or full[0]]
        _check_formulas(chosen, openpyxl.load_workbook(path)[chosen.title])
    except (BadZipFile, KeyError, OSError) as error:
        raise ValueError(f"it is no workbook ({error})") from None
    rows = [list(row) for row in chosen.iter_rows(values_only=True)]
    notes = _spread(rows, chosen.merged_cells.ranges)
    rows = [row for row in rows if any(cell not in (None, "") for cell in row)]
    width = max(
        [i + 1 for row in rows for i, cell in enumerate(row) if cell not in (None, "")] or [0]
    )
    return [(row + [None] * width)[:width] for row in rows], notes


def _check_formulas(values: Any, formulas: Any) -> None:
    without = [
        f"{cell.coordinate}: {cell.value}"
        for row in formulas.iter_rows()
        for cell in row
        if cell.data_type == "f" and values[cell.coordinate].value is None
    ]
    if without:
        told = "; ".join(map(str, without[:EXAMPLES]))
        raise ValueError(
            f"{len(without)} formulas have no value in the file ({told}): open it in a spreadsheet "
            "program, let it calculate, and save it"
        )


def _spread(rows: list[list[Any]], merged: Any) -> list[str]:
    """Give the value of each merged cell to all rows that it covers."""
    notes = []
    for area in sorted(merged, key=lambda area: (area.min_row, area.min_col)):
        value = rows[area.min_row - 1][area.min_col - 1]
        if area.min_col < area.max_col:
            texts = [cell for cell in rows[area.min_row - 1] if cell not in (None, "")]
            if len(texts) == 1:  # a title
                continue
            raise ValueError(f"the cells {area.coord} are merged across columns: part them")
        for number in range(area.min_row, area.max_row):
            rows[number][area.min_col - 1] = value
        notes.append(f"{area.coord} is one cell: each of its rows has {value!r}")
    return notes
