"""What a column is, from its values: the kind, the reason, how its cells are written, what was
changed, and both readings where there are two.

Rules, for the values of a column that are not missing, the first that fits:
none -> empty; one -> constant; dates (at least 95 %; the rest will be listed as unreadable) ->
datetime; numbers (the same): two different ones -> categorical; each another, whole and in steps of
one, or with a name that says so -> identifier; few (at most 10, each 5 times on average) ->
ordinal; whole -> integer; else continuous; texts: intervals of numbers -> ordinal; each another ->
identifier; at most 50, each twice on average -> categorical; else text. Empty, constant, identifier
and text are left out.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from medcodi.data.dates import EXCEL, date_form
from medcodi.sources import moments, numbers
from medcodi.sources.levels import is_interval, number_levels, read_levels
from medcodi.sources.mapping import DATETIME, ColumnRules

LEFT_OUT = ("empty", "constant", "identifier", "text", "drop")
MAX_LEVELS, TIMES_A_LEVEL = 10, 5
MAX_CATEGORIES, TIMES_A_CATEGORY = 50, 2
ID_NAME = re.compile(
    r"(^|[\W_])(id|ids|uid|uuid|mrn|identifier|accession)([\W_]|$)|[a-z]ID$|[Ii]dentifier"
)
UNIT_IN_NAME = re.compile(r"[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*$")
PAIR = re.compile(r"\d+\s*/\s*\d+")
EXAMPLES = 3


@dataclass
class ColumnCorrection(ColumnRules):
    """What a column really is, in place of what was inferred; `type` drop leaves it out."""

    type: str = ""


@dataclass
class Country:
    """What a whole table says about the marks inside numbers: `decimal`, `thousands` where it is
    known, and whether a decimal comma is likely."""

    style: tuple[str, str] | None = None
    comma: bool = False


class Finding(NamedTuple):
    """What the values of a column are; `details` are further arguments of the mapping."""

    kind: str
    why: str
    details: dict[str, Any]
    changed: list[str]
    ambiguous: str


def _found(
    kind: str,
    why: str,
    details: dict[str, Any] | None = None,
    changed: list[str] | None = None,
    ambiguous: str = "",
) -> Finding:
    return Finding(kind, why, details or {}, changed or [], ambiguous)


def as_wanted(
    kind: str, counts: Counter[str], name: str, rules: ColumnCorrection, country: Country
) -> Finding:
    """The details of a column that is said to be of `kind`."""
    if kind == DATETIME:
        return _as_dates(counts, name, rules)
    read = numbers.read_numbers(counts, _style(rules, country), rules.suffix.strip() or None)
    if kind in ("continuous", "integer"):
        found = _numeric(read, counts, name, country, kind, exact=False)
        return found or _found(kind, "")
    levels = read_levels(counts)
    if len(read.readings) == 1:
        reading = read.readings[0]
        if len(reading.numbers) + len(reading.censored) > len(counts) / 2:
            levels = number_levels(reading.numbers, counts, reading.censored)
    return _found(kind, "", {"categories": levels.categories, "map": levels.map}, levels.changed)


def infer(
    values: Iterable[str],
    name: str = "",
    rules: ColumnCorrection | None = None,
    country: Country | None = None,
) -> Finding:
    """What the values of a column are, given as texts or as their Counter."""
    counts = values if isinstance(values, Counter) else Counter(values)
    rules, country = rules or ColumnCorrection(), country or Country()
    if not counts:
        return _found("empty", "no value")
    if len(counts) == 1:
        return _found("constant", f"always {next(iter(counts))[:40]!r}")
    if rules.date_format or rules.origin:
        return _as_dates(counts, name, rules)
    dates = moments.read_moments(counts)
    if dates.forms:
        return _dates(dates, counts, name, rules)
    if dates.mixed:
        why = f"{dates.mixed}: write them in one"
        return _found("text", why, ambiguous=settle(name, why, "type: drop"))
    read = numbers.read_numbers(counts, _style(rules, country), rules.suffix.strip() or None)
    found = _numeric(read, counts, name, country)
    return found or _texts(counts, name, read)


def _style(rules: ColumnCorrection, country: Country) -> tuple[str, str] | None:
    if rules.decimal or rules.thousands:
        return rules.decimal or ".", rules.thousands
    return country.style


def settle(name: str, what: str, *lines: str) -> str:
    """An ambiguity with the lines of YAML, one of which settles it."""
    key = name if re.fullmatch(r"[A-Za-z][\w.-]*", name) else json.dumps(name, ensure_ascii=False)
    told = " or ".join(f"`{key}: {{{line}}}`" for line in lines)
    return f"{what}. Settle it under `columns:` by {told}"


def _as_dates(counts: Counter[str], name: str, rules: ColumnCorrection) -> Finding:
    """A column that is said to hold dates. Raises ValueError where no form fits."""
    if rules.date_format:
        return _dates(moments.Moments((rules.date_format,)), counts, name, rules)
    found = moments.read_moments(counts)
    if not found.forms and all(moments.is_serial(text) for text in counts):
        found = moments.Moments((EXCEL,))
    if not found.forms:
        raise ValueError(
            f"column {name!r} is to be a datetime, but no known form fits all of its values: give "
            "date_format"
        )
    return _dates(found, counts, name, rules)


def _dates(
    found: moments.Moments, counts: Counter[str], name: str, rules: ColumnCorrection
) -> Finding:
    form = found.forms[0]
    shape = date_form(form)
    known = {t: m for t in counts if (m := shape.read(t, rules.first_year)) is not None}
    details: dict[str, Any] = {"date_format": form}
    if known:
        details["origin"] = min(known.values()).date().isoformat()
    if not moments.is_padded(form, known):
        details["padded"] = False
    what = "times" if found.clock else "dates"
    why = f"{len(known)} {what}" + (f" as {form}" if form else ", ISO 8601")
    changed = _unread([text for text in counts if text not in known], counts, what)
    ambiguous = ""
    if len(found.forms) > 1:
        text = next(t for t in known if len({moments.spelled(f, t) for f in found.forms}) > 1)
        told = " or ".join(f"{moments.spelled(f, text)} ({f})" for f in found.forms)
        lines = [f'date_format: "{f}"' for f in found.forms]
        ambiguous = settle(name, f"{text!r} is {told}", *lines)
    elif shape.has_short_year and rules.first_year is None:
        text = next(iter(known), next(iter(counts)))
        years = [moments.spelled(form, text, first) for first in (1900, 2000)]
        lines = [f'date_format: "{form}", first_year: {first}' for first in (1900, 2000)]
        ambiguous = settle(name, f"{text!r} is {years[0]} or {years[1]}", *lines)
    return _found(DATETIME, why, details, changed, ambiguous)


def _unread(texts: list[str], counts: Counter[str], what: str) -> list[str]:
    if not texts:
        return []
    told = ", ".join(f"{text[:30]!r} ({counts[text]})" for text in texts[:EXAMPLES])
    return [f"{sum(counts[t] for t in texts)} values are no {what}, to be listed: {told}"]


def _numeric(
    read: numbers.Numbers,
    counts: Counter[str],
    name: str,
    country: Country,
    wanted: str = "",
    exact: bool = True,
) -> Finding | None:
    """The finding for a column of numbers, None where the texts are none. `wanted`: the type that
    it is said to have; `exact`: refuse numbers that 64 bits cannot tell apart."""
    if read.mixed:
        lines = [f'suffix: "{" " * (unit[0] != "%")}{unit}"' for unit in read.units if unit]
        return _found("text", read.mixed, ambiguous=settle(name, read.mixed, *lines, "type: drop"))
    if not read.readings:
        return None
    reading = read.readings[0]
    ambiguous = two_readings(name, read.readings, country)
    clash = numbers.collisions(reading)
    if clash and all(n == n.to_integral_value() for n in reading.numbers.values()):
        return None  # long codes: texts keep them apart
    if clash and exact and not ambiguous:
        what = f"{clash[0]!r} and {clash[1]!r} are one number in 64 bits"
        ambiguous = settle(name, what, "type: continuous", "type: drop")
    kind, why = _number_kind(reading, counts, name)
    kind = wanted or kind
    if reading.censored:
        told = ", ".join(list(reading.censored)[:EXAMPLES])
        why += f"; {sum(counts[t] for t in reading.censored)} beyond a bound ({told})"
    if moments.may_be_serials(name, reading.numbers) and not wanted and not ambiguous:
        text = next(iter(reading.numbers))
        what = f"{text!r} is a number or {moments.spelled(EXCEL, text)} (Excel's serial day)"
        ambiguous = settle(name, what, f'date_format: "{EXCEL}"', "type: integer")
    changed = _told_changes(reading)
    changed += _unread(
        [t for t in counts if t not in reading.numbers and t not in reading.censored],
        counts,
        "numbers",
    )
    if kind in ("ordinal", "categorical"):
        levels = number_levels(reading.numbers, counts, reading.censored)
        details: dict[str, Any] = {"categories": levels.categories, "map": levels.map}
        return _found(kind, why, details, changed + levels.changed, ambiguous)
    return _found(kind, why, number_details(reading, counts), changed, ambiguous)


def two_readings(name: str, readings: list[numbers.Reading], country: Country) -> str:
    """Both readings of a text that has two, "" where there is one. A point is a decimal mark unless
    the table has decimal commas or its cells are separated by semicolons."""
    if not readings:
        return ""
    first = readings[0]
    if len(readings) == 1 or (first.style == (".", "") and not country.comma):
        return ""
    other = readings[1]
    text = next(t for t in first.numbers if first.numbers[t] != other.numbers[t])
    told, lines = [], []
    for reading in (first, other):
        marks = f'decimal: "{reading.decimal}"'
        marks += f', thousands: "{reading.thousands}"' if reading.thousands else ""
        told.append(f"{reading.numbers[text].normalize():f} ({marks})")
        lines.append(marks)
    return settle(name, f"{text!r} is {told[0]} or {told[1]}", *lines)


def _number_kind(reading: numbers.Reading, counts: Counter[str], name: str) -> tuple[str, str]:
    values = {float(number) for number in reading.numbers.values()}
    levels = sorted(values | set(reading.censored.values()))
    total = sum(counts[text] for text in (*reading.numbers, *reading.censored))
    plain = sorted(values) or levels
    whole = all(number.is_integer() for number in values)
    if len(levels) == 1:
        return "constant", f"always {next(iter(counts))!r}"
    if len(levels) == 2:
        return "categorical", "two numbers"
    steps_of_one = whole and len(plain) == total == plain[-1] - plain[0] + 1
    if steps_of_one and len(plain) > MAX_LEVELS and not (reading.censored or reading.suffix):
        return "identifier", "whole numbers in steps of one, each once"
    if whole and len(plain) > MAX_LEVELS and not reading.censored and ID_NAME.search(name):
        return "identifier", f"{len(plain)} whole numbers, and named so"
    if len(levels) <= MAX_LEVELS and total >= TIMES_A_LEVEL * len(levels):
        return "ordinal", f"{len(levels)} numbers"
    span = f"{plain[0]:.15g} to {plain[-1]:.15g}, {len(levels)} different"
    return ("integer", f"whole numbers, {span}") if whole else ("continuous", span)


def number_details(reading: numbers.Reading, counts: Counter[str]) -> dict[str, Any]:
    """How the numbers are written, and what is spelled in another way."""
    details: dict[str, Any] = {}
    if reading.style != (".", ""):
        details |= {"decimal": reading.decimal, "thousands": reading.thousands}
    for key in ("prefix", "suffix"):
        if getattr(reading, key):
            details[key] = getattr(reading, key)
    if reading.suffix:
        details["unit"] = reading.suffix.strip()
    if (places := reading.places()) is not None:
        details["places"] = places
    spelled: dict[float, str] = {}
    changes = {}
    for text in sorted(reading.censored, key=lambda text: (-counts[text], len(text))):
        usual = spelled.setdefault(reading.censored[text], text)
        if usual != text:
            changes[text] = usual
    if spelled:
        details["censored"] = {text: bound for bound, text in spelled.items()}
    for text in reading.numbers:
        cell = numbers.take_apart(text)
        if cell.suffix not in ("", reading.suffix) or cell.prefix not in ("", reading.prefix):
            changes[text] = f"{reading.prefix}{cell.core}{reading.suffix}"
    return details | ({"map": changes} if changes else {})


def _told_changes(reading: numbers.Reading) -> list[str]:
    told = []
    text = max(reading.numbers, key=len, default=None)
    if text is not None and (reading.style != (".", "") or reading.suffix or reading.prefix):
        unit = f" {reading.suffix.strip()}" if reading.suffix else ""
        told.append(f"{text!r} is {reading.numbers[text].normalize():f}{unit}")
    return told


def _texts(counts: Counter[str], name: str, read: numbers.Numbers) -> Finding:
    """The finding for a column of other texts."""
    total = sum(counts.values())
    levels = read_levels(counts)
    if levels.clash:
        what = f"{levels.clash} differ in case only: one level or two"
        line = f"type: categorical, categories: {json.dumps(sorted(counts), ensure_ascii=False)}"
        return _found(
            "text",
            "case alone tells its levels apart",
            ambiguous=settle(name, what, line, "type: drop"),
        )
    details = {"categories": levels.categories, "map": levels.map}
    size = len(levels.categories)
    codes = all(text.isdigit() for text in counts)  # with leading zeros, or too long
    if size <= MAX_LEVELS and not codes and all(is_interval(text) for text in counts):
        return _found("ordinal", f"{size} intervals", details, levels.changed)
    if sum(n for text, n in counts.items() if PAIR.fullmatch(text)) > total / 2:
        return _found("text", "pairs of numbers: make two columns of them")
    if len(counts) == total or (ID_NAME.search(name) and len(counts) > MAX_CATEGORIES):
        once = "each value once" if len(counts) == total else f"{len(counts)} values, and named so"
        return _found("identifier", once)
    if size <= MAX_CATEGORIES and total >= TIMES_A_CATEGORY * size:
        return _found("categorical", f"{size} texts", details, levels.changed)
    return _found("text", _about_text(counts, total))


def _about_text(counts: Counter[str], total: int) -> str:
    """Why a column is free text, and what would make it more."""
    why = f"{len(counts)} texts in {total} rows"
    cells = {text for text in counts if numbers.take_apart(text) is not None}
    if sum(counts[text] for text in cells) > total / 2:
        rest = [text for text, _ in counts.most_common() if text not in cells]
        if rest:
            told = ", ".join(json.dumps(t[:30], ensure_ascii=False) for t in rest[:EXAMPLES])
            return f"{why}; most are numbers: list the others as `missing: [{told}]`"
    return why
