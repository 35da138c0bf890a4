"""Where in a file the table is: what separates its cells, what stands above it, and rows in it that
are no data (a header again, units, totals)."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from medcodi.sources.numbers import is_unit, take_apart

SEPARATORS = ",;\t|"  # the first of equally good ones
SNIFFED = 1 << 16  # characters that the separator is looked for in
COMMENT = re.compile(r"\s*(?:#|//|%)")
TOTAL_WORDS = """
total totals subtotal sum summe gesamt gesamtsumme insgesamt somme totaal totale suma
mean average avg mittelwert durchschnitt moyenne median
"""
TOTALS = frozenset(TOTAL_WORDS.split())
LAST_ROWS = 5  # in which totals are looked for
Row = Sequence[str]


def split_rows(text: str) -> tuple[str, list[list[str]]]:
    """(separator, rows with any cell). A first line `sep=;`, as Excel writes it, decides; else the
    separator that cuts most lines, and the header, into equally many cells, more than one."""
    if match := re.match(r"sep=(.)\r?\n", text):
        return match[1], _rows(text[match.end() :], match[1])
    separator = max(SEPARATORS, key=lambda mark: _fit(text[:SNIFFED], mark))
    return separator, _rows(text, separator)


def _rows(text: str, separator: str) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]


def _fit(text: str, separator: str) -> tuple[bool, float, float, int]:
    """How well a separator fits: whether the header is as long as most rows, the share of such
    rows, how few cells begin with a blank, how many cells there are."""
    rows = _rows(text, separator)
    width = _width(rows)
    if width < 2:
        return False, 0.0, 0.0, 0
    share = sum(len(row) == width for row in rows) / len(rows)
    inner = [cell for row in rows for cell in row[1:]]
    blank = sum(cell[:1] == " " for cell in inner) / len(inner)
    return len(rows[num_above(rows)]) == width, share, -round(blank, 1), width


def _width(rows: Sequence[Row]) -> int:
    """The number of cells that most rows have."""
    widths = Counter(len(row) for row in rows)
    return max(widths, key=lambda width: (widths[width], width), default=0)


def num_above(rows: Sequence[Row]) -> int:
    """The number of rows that stand above the header: comments, titles (one cell with a text where
    the table has several columns), rows without a text."""
    width = _width(rows)
    for number, row in enumerate(rows):
        texts = [cell for cell in row if cell.strip()]
        below = rows[number + 1] if number + 1 < len(rows) else []
        header = len(row) == width and any(take_apart(cell.strip()) for cell in below)
        comment = COMMENT.match(row[0]) and not header
        title = width > 1 and len(texts) < 2 and number + 1 < len(rows)
        if not (comment or title):
            return number
    return 0


def odd_rows(names: Sequence[str], rows: Sequence[Row]) -> Iterator[tuple[int, str]]:
    """(index, reason) of rows that are no data: the header again, the units of the columns below
    it, totals at the end."""
    if rows and _are_units(rows[0], rows[1:]):
        yield 0, "a row of units"
    for index, row in enumerate(rows):
        same = row[0].strip() == names[0] and [cell.strip() for cell in row] == list(names)
        if same and len(names) > 1:
            yield index, "the header again"
    for index in range(max(0, len(rows) - LAST_ROWS), len(rows)):
        if _are_totals(rows[index], rows[: max(0, len(rows) - LAST_ROWS)]):
            yield index, f"a row of totals ({rows[index][_first(rows[index])]!r})"


def _are_units(row: Row, others: Sequence[Row]) -> bool:
    cells = {i: cell.strip().strip("[]()") for i, cell in enumerate(row) if cell.strip()}
    if len(cells) < min(2, len(row)) or not all(map(is_unit, cells.values())):
        return False
    if any(take_apart(cell) for cell in cells.values()):
        return False
    return bool(others) and not any(other[i] == row[i] for i in cells for other in others)


def _first(row: Row) -> int:
    return next((i for i, cell in enumerate(row) if cell.strip()), 0)


def _are_totals(row: Row, others: Sequence[Row]) -> bool:
    """A word for totals in the first cell, which no other row has there, and numbers behind it."""
    first = _first(row)
    word = row[first].strip().rstrip(":").casefold()
    rest = [cell for cell in row[first + 1 :] if cell.strip()]
    if word not in TOTALS or not rest or not others:
        return False
    same = any(other[first].strip().rstrip(":").casefold() == word for other in others)
    return not same and all(take_apart(cell.strip()) is not None for cell in rest)
