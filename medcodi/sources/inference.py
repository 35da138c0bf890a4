"""What the columns of a table are, from their texts: every decision with its reason, so that it can
be looked at and corrected.

Rules, for the values of a column that are not missing, the first that fits:
none -> empty; one -> constant; all dates -> datetime; numbers (at least 95 %; the rest will be
listed as unreadable): two different ones -> categorical; whole, each another and in steps of one ->
identifier; few (at most 10, each 5 times on average) -> ordinal; whole -> integer; else continuous;
texts: intervals of numbers -> ordinal; each another -> identifier; at most 50, each twice on
average -> categorical; else text. Empty, constant, identifier and text are left out.
"""

import math
import re
from dataclasses import asdict, dataclass

import pandas as pd

from medcodi.config import unknown_key
from medcodi.data.table import COLUMN_TYPES
from medcodi.sources.mapping import DATETIME, ColumnMapping, ColumnRules, moment

LEFT_OUT = ("empty", "constant", "identifier", "text", "drop")
SHARE_OF_NUMBERS = 0.95
MAX_LEVELS, TIMES_A_LEVEL = 10, 5
MAX_CATEGORIES, TIMES_A_CATEGORY = 50, 2
DATE_FORMATS = (
    "",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%Y%m%d",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
)
INTERVAL = re.compile(
    r"[\[(<>≥≤=]*\s*(-?\d+(?:\.\d+)?)\s*(?:(?:,|-|–|to|\.\.)\s*(-?\d+(?:\.\d+)?)|\+)?\s*[\])]?"
)
FIRST, LAST = re.compile(r"[<≤]"), re.compile(r"[>≥]|\+$")


@dataclass
class ColumnCorrection(ColumnRules):
    """What a column really is, in place of what was inferred; `type` drop leaves it out."""

    type: str = ""


@dataclass
class Decision:
    """`kind`: a type of column, datetime, or one of LEFT_OUT; `mapping` is None for these."""

    column: str
    kind: str
    why: str
    mapping: ColumnMapping | None


def infer_columns(
    frame: pd.DataFrame, missing: list[str], corrections: dict[str, ColumnCorrection]
) -> list[Decision]:
    """One decision a column of `frame` (texts, stripped). Raises ValueError for a correction with
    an unknown type."""
    return [
        _decide(name, frame[name].tolist(), missing, corrections.get(name))
        for name in frame.columns
    ]


def _decide(
    name: str, texts: list[str], missing: list[str], correction: ColumnCorrection | None
) -> Decision:
    absent = {"", *missing, *(correction.missing if correction else [])}
    texts = [text for text in texts if text not in absent]
    kind, why, details = infer(texts)
    if correction is not None:
        given = {
            key: value
            for key, value in asdict(correction).items()
            if value not in ("", [], {}, None)
        }
        if given.get("type", kind) not in (*COLUMN_TYPES, DATETIME, "drop", *LEFT_OUT):
            raise unknown_key(
                given["type"], [*COLUMN_TYPES, DATETIME, "drop"], f"columns.{name}.type"
            )
        if given.get("type", kind) != kind:
            kind, why = given["type"], f"by correction, inferred was {kind} ({why})"
            details = _details(kind, texts, given.get("date_format"))
        details = {**details, **{key: value for key, value in given.items() if key != "type"}}
    if kind in LEFT_OUT:
        return Decision(name, kind, why, None)
    return Decision(name, kind, why, ColumnMapping(column=name, type=kind, **details))


def infer(texts: list[str]) -> tuple[str, str, dict]:
    """(kind, why, further arguments of the mapping) of the values of a column."""
    different = sorted(set(texts))
    if not different:
        return "empty", "no value", {}
    if len(different) == 1:
        return "constant", f"always {different[0][:40]!r}", {}
    numbers = [number for text in texts if (number := as_number(text)) is not None]
    if len(numbers) >= SHARE_OF_NUMBERS * len(texts) and not _are_dates(different):
        kind, why = _numeric(numbers)
        if len(numbers) < len(texts):
            why += f"; {len(texts) - len(numbers)} values are no numbers"
        return kind, why, _details(kind, texts)
    if _are_dates(different):
        return DATETIME, f"{len(different)} dates", _details(DATETIME, texts)
    if len(different) <= MAX_LEVELS and all(INTERVAL.fullmatch(text) for text in different):
        return "ordinal", f"{len(different)} intervals", _details("ordinal", texts)
    if len(different) == len(texts):
        return "identifier", "each value once", {}
    if len(different) <= MAX_CATEGORIES and len(texts) >= TIMES_A_CATEGORY * len(different):
        return "categorical", f"{len(different)} texts", _details("categorical", texts)
    return "text", f"{len(different)} texts in {len(texts)} rows", {}


def as_number(text: str) -> float | None:
    """A finite number, None for any other text (float would take 1_0 too)."""
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _numeric(numbers: list[float]) -> tuple[str, str]:
    levels = sorted(set(numbers))
    whole = all(number.is_integer() for number in levels)
    if len(levels) == 1:
        return "constant", f"always {levels[0]:g}"
    if len(levels) == 2:
        return "categorical", "two numbers"
    if (
        whole
        and len(levels) == len(numbers) == levels[-1] - levels[0] + 1
        and len(levels) > MAX_LEVELS
    ):
        return "identifier", "whole numbers in steps of one, each once"
    if len(levels) <= MAX_LEVELS and len(numbers) >= TIMES_A_LEVEL * len(levels):
        return "ordinal", f"{len(levels)} numbers"
    span = f"{levels[0]:g} to {levels[-1]:g}, {len(levels)} different"
    return ("integer", f"whole numbers, {span}") if whole else ("continuous", span)


def _details(kind: str, texts: list[str], date_format: str | None = None) -> dict:
    """Further arguments of the mapping for a column of `kind`; `date_format` where it is known."""
    if kind in ("ordinal", "categorical"):
        return _levels(sorted(set(texts)))
    if kind == DATETIME:
        date_format = date_format or _date_format(sorted(set(texts)))
        origin = (
            min(moment(text, date_format) for text in set(texts))
            if date_format is not None
            else None
        )
        if origin is None:
            raise ValueError(
                "a column is to be a datetime, but no known form fits all of its values: give "
                "date_format"
            )
        return {"origin": origin.date().isoformat(), "date_format": date_format}
    return {}


def _levels(different: list[str]) -> dict:
    """Categories in the order of their numbers, or of the lower ends of their intervals, else of
    the alphabet; numbers that are written differently are one category. A text among numbers is no
    category."""
    numbers = {text: as_number(text) for text in different}
    if sum(number is not None for number in numbers.values()) > len(different) / 2:
        values = {text: f"{number:g}" for text, number in numbers.items() if number is not None}
        categories = list(dict.fromkeys(values[text] for text in sorted(values, key=numbers.get)))
        return {
            "categories": categories,
            "map": {text: value for text, value in values.items() if text != value},
        }
    if all(INTERVAL.fullmatch(text) for text in different):
        return {"categories": sorted(different, key=_lower_end)}
    return {"categories": different}


def _lower_end(text: str) -> tuple[float, int]:
    start = float(INTERVAL.fullmatch(text)[1])
    return start, -1 if FIRST.match(text) else 1 if LAST.search(text) else 0


def _are_dates(different: list[str]) -> bool:
    return _date_format(different) is not None


def _date_format(different: list[str]) -> str | None:
    """The first form of dates that fits all values; plain numbers are dates only as eight digits."""
    if any(len(text) < 8 for text in different):
        return None
    return next(
        (form for form in DATE_FORMATS if all(_fits(text, form) for text in different)), None
    )


def _fits(text: str, form: str) -> bool:
    if text.isdigit() and (len(text) != 8 or not "1900" <= text[:4] <= "2100"):
        return False
    try:
        moment(text, form)
    except ValueError:
        return False
    return True
