"""Tables as they come: csv with whatever separator (also .gz), tsv, parquet -> texts."""

import csv
import gzip
import re
from pathlib import Path

import pandas as pd

SEPARATORS = ",;\t|"  # the first of equally frequent ones
MAX_CELL = 1 << 24  # characters
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")


def read_table(path: Path) -> pd.DataFrame:
    """All cells as texts, blank ones "". The separator is the one that the first line has most of;
    where it is a semicolon, numbers may be written with a decimal comma.

    Raises ValueError for a file that is no UTF-8 csv and no parquet, for two columns of one name,
    and for a row with more or fewer cells than there are columns.
    """
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            return frame.astype(object).where(frame.notna(), "").map(str)
        return _read_csv(path)
    except (
        ValueError,
        EOFError,
        pd.errors.ParserWarning,
    ) as error:  # ArrowInvalid is a ValueError
        kind = "parquet" if path.suffix == ".parquet" else "UTF-8 csv"
        raise ValueError(f"{path} cannot be read as {kind}: {error}") from None


def _read_csv(path: Path) -> pd.DataFrame:
    csv.field_size_limit(MAX_CELL)
    with (gzip.open if path.suffix == ".gz" else open)(
        path, "rt", encoding="utf-8-sig", newline=""
    ) as file:
        head = re.sub(r'"[^"]*"', "", file.readline(MAX_CELL))
        separator = max(SEPARATORS, key=head.count)
        file.seek(0)
        names, *rows = [row for row in csv.reader(file, delimiter=separator) if row] or [[]]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise ValueError(
            f"several columns are named {', '.join(map(repr, twice))}" if names else "it is empty"
        )
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} cells, expected {len(names)}")
    if separator == ";":
        rows = [[_decimal_point(cell) for cell in row] for row in rows]
    return pd.DataFrame(rows, columns=names, dtype=object)


def _decimal_point(cell: str) -> str:
    return cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell.strip()) else cell
