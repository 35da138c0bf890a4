"""The columns of a table, from their texts: every decision with its reason, what was changed, and
what is ambiguous, so that it can be looked at and corrected. The rules stand in `kinds`."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from medcodi.config_io import unknown_key
from medcodi.data.column import COLUMN_TYPES
from medcodi.sources import numbers
from medcodi.sources.finding import EXAMPLES, ColumnCorrection, Country, Finding, settle
from medcodi.sources.kinds import LEFT_OUT, as_wanted, infer
from medcodi.sources.levels import TRUTHS
from medcodi.sources.mapping import DATETIME, EPOCH, ColumnMapping, FolderMapping
from medcodi.sources.number_kinds import UNIT_IN_NAME, number_details, two_readings

NO = "no"
PLUSES = {"+", "++", "+++"}


@dataclass
class Decision:
    """`kind`: a type of column, datetime, or one of LEFT_OUT; `mapping` is None for these.
    `changed` tells what was changed, `ambiguous` both readings and the line that settles it (""
    where there is none)."""

    column: str
    kind: str
    why: str
    mapping: ColumnMapping | None = None
    examples: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    ambiguous: str = ""

    def told(self) -> str:
        """One line for people."""
        return "; ".join([f"{self.kind}: {self.why}", *self.changed])


def infer_columns(
    frame: pd.DataFrame,
    missing: list[str],
    corrections: dict[str, ColumnCorrection],
    decimal: str = "",
    thousands: str = "",
) -> list[Decision]:
    """One decision a column of `frame` (`read_table`). Raises ValueError for a correction with an
    unknown type."""
    style = (decimal or ".", thousands) if decimal or thousands else None
    columns = {}
    for name in frame.columns:
        rules = corrections.get(name) or ColumnCorrection()
        absent = (
            {"", *missing, *rules.missing} - set(rules.keep) - {key for key in rules.map if not key}
        )
        counts = Counter(frame[name].tolist())
        taken = {text: counts.pop(text) for text in list(counts) if text in absent}
        columns[name] = counts, taken, rules
    comma = frame.attrs.get("separator") == ";" or any(
        _is_only(counts, ",") for counts, _, _ in columns.values()
    )
    country = Country(style, comma, _has_decimal_point(frame, columns))
    decisions = []
    for name, (counts, taken, rules) in columns.items():
        decision = _decide(name, counts, rules, country)
        _tell_missing(decision, taken, counts)
        if count := frame.attrs.get("stripped", {}).get(name):
            decision.changed.append(f"{count} cells had blanks around them")
        decisions.append(decision)
    return decisions


def _has_decimal_point(frame: pd.DataFrame, columns: Mapping[str, Any]) -> bool:
    """Whether the file has types of its own, or numbers that can only be read with a point."""
    if frame.attrs.get("separator") == "":
        return True
    return any(_is_only(counts, ".") for counts, _, _ in columns.values())


def _is_only(counts: Counter[str], mark: str) -> bool:
    """Whether numbers with a mark in them can only be read with it as the decimal mark."""
    if not any(mark in text for text in counts):
        return False
    readings = numbers.read_numbers(counts).readings
    return bool(readings) and all(reading.decimal == mark for reading in readings)


def _tell_missing(decision: Decision, taken: dict[str, int], counts: Counter[str]) -> None:
    words = {text: n for text, n in taken.items() if text}
    if words:
        told = ", ".join(f"{text!r} ({n})" for text, n in words.items())
        decision.changed.append(f"no value: {told}")
    if decision.kind != "drop" and "-" in words and counts and set(counts) <= PLUSES:
        decision.ambiguous = settle(
            decision.column, "'-' stands for no value or for negative", 'keep: ["-"]', "type: drop"
        )
    ticked = {text.casefold() for text in counts}
    if decision.kind == "constant" and taken.get("") and ticked <= TRUTHS[0]:
        tick = next(iter(counts))
        line = f"type: categorical, categories: [{json.dumps(NO)}, {json.dumps(tick)}]"
        decision.ambiguous = settle(
            decision.column,
            f"a blank beside {tick!r} is no value or {NO!r}",
            f'{line}, map: {{"": {json.dumps(NO)}}}',
            "type: drop",
        )


def _decide(name: str, counts: Counter[str], rules: ColumnCorrection, country: Country) -> Decision:
    given = {key: value for key, value in vars(rules).items() if value not in ("", [], {}, None)}
    given.pop("padded")
    wanted = given.get("type", "")
    if wanted and wanted not in (*COLUMN_TYPES, DATETIME, *LEFT_OUT):
        raise unknown_key(wanted, [*COLUMN_TYPES, DATETIME, "drop"], f"columns.{name}.type")
    examples = [text for text, _ in counts.most_common(EXAMPLES)]
    if wanted in LEFT_OUT:
        return Decision(name, wanted, "by correction", None, examples)
    found = infer(counts, name, rules, country)
    if wanted and (wanted != found.kind or found.ambiguous):
        why = f"by correction, inferred was {found.kind} ({found.why})"
        found = as_wanted(wanted, counts, name, rules, country)._replace(why=why)
    details = {**found.details, **{key: value for key, value in given.items() if key != "type"}}
    if found.kind in LEFT_OUT:
        return Decision(name, found.kind, found.why, None, examples, found.changed, found.ambiguous)
    if "categories" in given and "map" not in given:
        details["map"] = {
            k: v for k, v in details.get("map", {}).items() if v in given["categories"]
        }
    named_unit = UNIT_IN_NAME.search(name)
    if named_unit and numbers.is_unit(named_unit[1]) and not given.get("unit"):
        found = _with_named_unit(found, name, named_unit[1], details)
    if found.kind == DATETIME:
        details.setdefault("origin", EPOCH)
    mapping = ColumnMapping(column=name, type=found.kind, **details)
    return Decision(name, found.kind, found.why, mapping, examples, found.changed, found.ambiguous)


def _with_named_unit(found: Finding, name: str, unit: str, details: dict[str, Any]) -> Finding:
    """`found`, with the unit that the name of the column states; another one in the cells is
    ambiguous."""
    other = details.get("unit", "")
    if not other:
        details["unit"] = unit
        found.changed.append(f"unit {unit!r} from the column's name")
    elif numbers.same_unit(other) != numbers.same_unit(unit) and not found.ambiguous:
        what = f"its name says {unit!r}, its cells say {other!r}"
        lines = [f"unit: {json.dumps(one, ensure_ascii=False)}" for one in (unit, other)]
        return found._replace(ambiguous=settle(name, what, *lines))
    return found


def settle_numbers(frame: pd.DataFrame, mapping: FolderMapping, where: str) -> None:
    """Find how the numbers of a mapping's tables are written, where it does not say so.

    Raises ValueError with both readings of each column that has two.
    """
    told = []
    named = {column.column for table in mapping.tables.values() for column in table.columns}
    point = frame.attrs["separator"] == "" or any(_is_only(Counter(frame[n]), ".") for n in named)
    for table in mapping.tables.values():
        for i, column in enumerate(table.columns):
            if column.type not in ("continuous", "integer") or column.decimal or column.thousands:
                continue
            cells = [cell for cell in frame[column.column] if not column.is_missing(cell)]
            counts = Counter(
                value for cell in cells if (value := column.map.get(cell, cell)) is not None
            )
            found = numbers.read_numbers(counts, unit=column.suffix.strip() or None)
            country = Country(comma=frame.attrs["separator"] == ";", point=point)
            ambiguous = two_readings(column.column, found.readings, country)
            if ambiguous or found.mixed:
                told.append(f"  {column.column}: {ambiguous or found.mixed}")
            elif found.readings:
                details = number_details(found.readings[0], counts)
                details["map"] = {**details.get("map", {}), **column.map}
                details["unit"] = column.unit or details.get("unit", "")
                table.columns[i] = dataclasses.replace(column, **details)
    if told:
        raise ValueError(
            f"{where}: nothing is guessed where a column can be read in two ways:\n"
            + "\n".join(told)
            + "\nPut decimal, thousands or suffix into the column's entry of the mapping."
        )
