"""Tables as they come: csv with whatever separator and encoding (also .gz), tsv, parquet, xlsx ->
texts.

What was decided stands in `frame.attrs`: `notes`, lines for people, `separator` ("" where the file
has types of its own), and `left_out`, rows that are no data with their reasons.
"""

import csv
import datetime
import gzip
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medcodi.sources.layout import num_above, odd_rows, split_rows
from medcodi.sources.workbook import read_sheet

MAX_CELL = 1 << 24  # characters
SHEET_HEAD = 200  # rows of a sheet in which its header is looked for
BLANKS = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"  # characters that nobody sees
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
WHOLE = re.compile(r"\d+(?:\.0+)?")
SHEETS = (".xlsx", ".xlsm")


def read_table(path: Path, encoding: str = "", sheet: str = "") -> pd.DataFrame:
    """All cells as texts without blanks around them, absent ones "". `encoding` of a csv file:
    UTF-8 or UTF-16 by its mark, else Windows-1252, which is told; `sheet` of a workbook that has
    several.

    Raises ValueError for a file that cannot be read, for two columns of one name, and for a row
    with more or fewer cells than there are columns.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            frame = _read_parquet(path)
        elif kind in SHEETS:
            frame = _read_workbook(path, sheet)
        else:
            frame = _read_csv(path, encoding)
    except (ValueError, EOFError, csv.Error, gzip.BadGzipFile) as error:
        named = {".parquet": "parquet", ".xlsx": "a workbook", ".xlsm": "a workbook"}
        raise ValueError(
            f"{path} cannot be read as {named.get(kind, 'UTF-8 csv')}: {error}"
        ) from None
    return _stripped(frame)


def frame_of_texts(columns: dict[str, Iterable[Any]]) -> pd.DataFrame:
    """Typed values of each column -> texts, in full precision, absent ones ""."""
    frame = pd.DataFrame(
        {name: [_text(v) for v in values] for name, values in columns.items()}, dtype=object
    )
    frame.attrs |= {"notes": [], "separator": "", "left_out": {}}
    return frame


def _text(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "True" if value else "False"
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else _number(value)
    if isinstance(value, datetime.datetime):
        whole_day = value.time() == datetime.time() and value.tzinfo is None
        return value.date().isoformat() if whole_day else value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, list, dict, set, tuple, np.ndarray)):
        raise ValueError(f"a cell holds {type(value).__name__}, expected one value")
    return str(value)


def _number(value: Any) -> str:
    """The shortest text that gives the same number, whole ones without a point."""
    if not np.isfinite(value):
        return str(float(value))
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else str(value)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    _check_names(table.column_names)
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_floating(column.type):  # each width with its own shortest texts
            columns[name] = column.to_numpy()
        else:
            columns[name] = column.to_pylist()
    return frame_of_texts({n: c for n, c in columns.items() if not n.startswith("__index_level_")})


def _read_workbook(path: Path, sheet: str) -> pd.DataFrame:
    rows, notes = read_sheet(path, sheet)
    above = num_above([[_text(cell) for cell in row] for row in rows[:SHEET_HEAD]])
    told = [next(_text(cell) for cell in row if _text(cell)) for row in rows[:above]]
    rows = rows[above:]
    if not rows:
        raise ValueError("it is empty")
    names, renamed = _names([_text(cell) for cell in rows[0]])
    frame = frame_of_texts({name: [row[i] for row in rows[1:]] for i, name in enumerate(names)})
    frame.attrs["notes"] += notes + _told_above(told) + renamed
    return _without_odd_rows(frame)


def _read_csv(path: Path, encoding: str) -> pd.DataFrame:
    csv.field_size_limit(MAX_CELL)
    raw = (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb").read()
    text, notes = _decoded(raw, encoding)
    separator, rows = split_rows(text)
    above = num_above(rows)
    told = [separator.join(row).strip(separator) for row in rows[:above]]
    names, *rows = rows[above:] or [[]]
    if not names:
        raise ValueError("it is empty")
    names, renamed = _names(names)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} cells, expected {len(names)}")
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    if separator != ",":
        notes.append(f"cells are separated by {separator!r}")
    frame.attrs |= {"notes": notes + _told_above(told) + renamed, "separator": separator}
    return _without_odd_rows(frame)


def _told_above(texts: list[str]) -> list[str]:
    if not texts:
        return []
    told = ", ".join(repr(text[:60]) for text in texts[:3])
    return [f"{len(texts)} lines above the table were left out: {told}"]


def _without_odd_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` without its rows that are no data, which `attrs["left_out"]` lists with their
    reasons."""
    rows = frame.values.tolist()
    odd = dict(odd_rows(list(frame.columns), rows))
    kept = pd.DataFrame(
        [row for index, row in enumerate(rows) if index not in odd],
        index=[index for index in range(len(rows)) if index not in odd],
        columns=frame.columns,
        dtype=object,
    )
    kept.attrs |= frame.attrs | {"left_out": {f"row {i + 1}": why for i, why in odd.items()}}
    return kept


def _decoded(raw: bytes, encoding: str) -> tuple[str, list[str]]:
    if not encoding:
        encoding = next((name for mark, name in BOMS.items() if raw.startswith(mark)), "")
    if not encoding:
        try:
            text, notes = raw.decode("utf-8"), []
        except UnicodeDecodeError as error:
            text, notes = _western(raw, error)
    else:
        try:
            text, notes = raw.decode(encoding), []
        except LookupError:
            raise ValueError(f"encoding {encoding!r} is not known") from None
    if "\0" in text:
        raise ValueError(
            "it holds NUL characters: it is no text, or UTF-16 without its mark, whose `encoding` "
            "has to be named"
        )
    return text, notes


def _western(raw: bytes, error: UnicodeDecodeError) -> tuple[str, list[str]]:
    """Bytes that are no UTF-8, as Windows-1252 (which holds the letters of Latin-1)."""
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        raise ValueError(f"{error}; nor is it Windows-1252: name its `encoding`") from None
    odd = len(
        re.findall(r"(?<![A-Za-z])(?:(?![°µ±²³½¼¾\u00d7·§€£])[^\x00-\x7f])+(?![A-Za-z])", text)
    )
    words = re.findall(r"[^\W\d_]*[^\x00-\x7f][^\W\d_]*", text)
    if odd > len(words) / 2:  # letters of another code stand alone
        raise ValueError(f"{error}; nor is it Windows-1252: name its `encoding`")
    examples = ", ".join(repr(word) for word in dict.fromkeys(words[:3]))
    return text, [f"it is no UTF-8 and was read as Windows-1252 (Latin-1): {examples}"]


def _names(names: list[str]) -> tuple[list[str], list[str]]:
    """Names of the columns without blanks around them; those without a name get their number."""
    stripped = [" ".join(name.split()) for name in names]
    named = [name or f"column_{number}" for number, name in enumerate(stripped, start=1)]
    _check_names(named)
    return named, [
        f"column {new!r} has no name" for new, old in zip(named, stripped, strict=True) if not old
    ]


def _check_names(names: list[str]) -> None:
    if twice := sorted(
        {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()
    ):
        raise ValueError(f"several columns are named {', '.join(map(repr, twice))}")
    if not names:
        raise ValueError("it is empty")


def whole_identifiers(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """`frame` with the columns `names` of identifiers as a spreadsheet had them before it made them
    numbers: "123.0" is "123", where all of a column are whole numbers; told in the notes."""
    for name in dict.fromkeys(names):
        cells = frame[name].tolist()
        if all(WHOLE.fullmatch(cell) for cell in cells if cell) and any("." in c for c in cells):
            changed = next(cell for cell in cells if "." in cell)
            frame = frame.assign(**{name: [cell.partition(".")[0] for cell in cells]})
            note = (
                f"identifiers of {name!r} are whole: {changed!r} is {changed.partition('.')[0]!r}"
            )
            frame.attrs["notes"] = [*frame.attrs.get("notes", []), note]
    return frame


def _stripped(frame: pd.DataFrame) -> pd.DataFrame:
    columns, changed = {}, {}
    for name in frame.columns:
        cells = frame[name].tolist()
        columns[name] = [cell.strip().strip(BLANKS).strip() for cell in cells]
        if count := sum(a != b for a, b in zip(cells, columns[name], strict=True)):
            changed[name] = count
    stripped = pd.DataFrame(columns, index=frame.index, dtype=object)
    stripped.attrs |= frame.attrs | {"stripped": changed}
    return stripped
