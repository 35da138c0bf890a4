"""Tables as they come: csv with whatever separator and encoding (also .gz), tsv, parquet, xlsx ->
texts.

What was decided stands in `frame.attrs`: `notes`, lines for people, and `separator` ("" where the
file has types of its own).
"""

import csv
import datetime
import gzip
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SEPARATORS = ",;\t|"  # the first of equally good ones
MAX_CELL = 1 << 24  # characters
SNIFFED = 1 << 16  # characters that the separator is looked for in
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
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
    frame.attrs |= {"notes": [], "separator": ""}
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
    try:
        import openpyxl
    except ImportError:
        raise ValueError("workbooks need openpyxl: pip install 'medcodi[xlsx]'") from None
    from zipfile import BadZipFile

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (BadZipFile, KeyError, OSError) as error:
        raise ValueError(f"it is no workbook ({error})") from None
    full = [name for name in book.sheetnames if getattr(book[name], "max_row", 0)]
    if sheet and sheet not in book.sheetnames:
        raise ValueError(f"it has no sheet {sheet!r}; there are {book.sheetnames}")
    if not sheet and len(full) != 1:
        raise ValueError(f"it has the sheets {full}: name one as `sheet`")
    rows = [list(row) for row in book[sheet or full[0]].iter_rows(values_only=True)]
    book.close()
    rows = [row for row in rows if any(cell not in (None, "") for cell in row)]
    if not rows:
        raise ValueError("it is empty")
    width = max(i + 1 for row in rows for i, cell in enumerate(row) if cell not in (None, ""))
    rows = [(row + [None] * width)[:width] for row in rows]
    names, notes = _names([_text(cell) for cell in rows[0]])
    frame = frame_of_texts({name: [row[i] for row in rows[1:]] for i, name in enumerate(names)})
    frame.attrs["notes"] += notes
    return frame


def _read_csv(path: Path, encoding: str) -> pd.DataFrame:
    csv.field_size_limit(MAX_CELL)
    raw = (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb").read()
    text, notes = _decoded(raw, encoding)
    separator, start = _separator(text)
    names, *rows = [
        row for row in csv.reader(io.StringIO(text[start:], newline=""), delimiter=separator) if row
    ] or [[]]
    if not names:
        raise ValueError("it is empty")
    names, renamed = _names(names)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(f"row {number} has {len(row)} cells, expected {len(names)}")
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    if separator != ",":
        notes.append(f"cells are separated by {separator!r}")
    frame.attrs |= {"notes": notes + renamed, "separator": separator}
    return frame


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
        raise ValueError("it holds NUL characters, so that it is no text")
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


def _separator(text: str) -> tuple[str, int]:
    """The separator and where the table starts. A first line `sep=;`, as Excel writes it, decides;
    else the one that the header has most of, outside quotes."""
    if match := re.match(r"sep=(.)\r?\n", text):
        return match[1], match.end()
    head = re.sub(r'"(?:[^"]|"")*"', "", text[:SNIFFED]).lstrip("\r\n")
    header = head.partition("\n")[0]
    return max(SEPARATORS, key=header.count), 0


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


def _stripped(frame: pd.DataFrame) -> pd.DataFrame:
    columns, changed = {}, {}
    for name in frame.columns:
        cells = frame[name].tolist()
        columns[name] = [cell.strip() for cell in cells]
        if count := sum(a != b for a, b in zip(cells, columns[name], strict=True)):
            changed[name] = count
    stripped = pd.DataFrame(columns, dtype=object)
    stripped.attrs |= frame.attrs | {"stripped": changed}
    return stripped
