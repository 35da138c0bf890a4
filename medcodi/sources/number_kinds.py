"""Columns of numbers: identifier, category, integer or continuous, how their cells are written, and
both readings where there are two."""

import re
from collections import Counter
from typing import Any

from medcodi.data.dates import EXCEL
from medcodi.sources import moments, numbers
from medcodi.sources.finding import EXAMPLES, Country, Finding, finding, settle, unread
from medcodi.sources.levels import number_levels

MAX_LEVELS, TIMES_A_LEVEL = 10, 5
CODE_FOR_MISSING = re.compile(r"(?:-?9{2,}|-?9|-88+|88{2,}|-77+|77{2,}|-[178])(?:[.,]0+)?")
MANY, FEW = 10, 3  # different numbers
MEASURE = re.compile(r"(^|[\W_])(age|alter|âge|weight|height|gewicht|größe|bmi)([\W_]|$)", re.I)
EXPONENT = re.compile(r"\d[eE][-+]?\d")
UNIT_IN_NAME = re.compile(r"[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*$")
ID_NAME = re.compile(
    r"(^|[\W_])(id|ids|uid|uuid|mrn|identifier|accession)([\W_]|$)|[a-z]ID$|[Ii]dentifier"
)


def numeric(
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
        return finding("text", read.mixed, ambiguous=settle(name, read.mixed, *lines, "type: drop"))
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
    code = "" if wanted or ambiguous else _code_for_missing(reading, counts)
    if code:
        what = f"{code!r} ({counts[code]} times) {_oddness(code, reading)} or stands for no value"
        ambiguous = settle(name, what, f'missing: ["{code}"]', f"type: {kind}")
    if moments.may_be_serials(name, reading.numbers) and not wanted and not ambiguous:
        text = next(iter(reading.numbers))
        what = f"{text!r} is a number or {moments.spelled(EXCEL, text)} (Excel's serial day)"
        ambiguous = settle(name, what, f'date_format: "{EXCEL}"', "type: integer")
    rounded = next((text for text in counts if EXPONENT.search(text)), "")
    if kind == "identifier" and rounded and not ambiguous and not wanted:
        what = f"{rounded!r} is an identifier whose last digits a spreadsheet has cut off"
        ambiguous = settle(name, what, "type: continuous", "type: drop")
    changed = _told_changes(reading)
    changed += unread(
        [t for t in counts if t not in reading.numbers and t not in reading.censored],
        counts,
        "numbers",
    )
    if kind in ("ordinal", "categorical"):
        levels = number_levels(reading.numbers, counts, reading.censored)
        details: dict[str, Any] = {"categories": levels.categories, "map": levels.map}
        return finding(kind, why, details, changed + levels.changed, ambiguous)
    details = number_details(reading, counts)
    if respelled := details.get("map"):
        text, usual = next(iter(respelled.items()))
        changed.append(
            f"{len(respelled)} texts spell bound or unit otherwise: {text!r} is {usual!r}"
        )
    return finding(kind, why, details, changed, ambiguous)


def _code_for_missing(reading: numbers.Reading, counts: Counter[str]) -> str:
    """The text of a number such as -9, 999 or -9999 that lies further from all others than they
    from each other, or is the only one below zero; "" where there is none. Among few others it has
    to occur twice."""
    values = sorted(float(number) for number in reading.numbers.values())
    for text, number in reading.numbers.items():
        value = float(number)
        others = [one for one in values if one != value]
        different = len(set(others))
        seldom = counts[text] < 2 and different < MANY
        if not CODE_FOR_MISSING.fullmatch(text) or seldom or len(others) < 2:
            continue
        far = _is_far(value, others) and (abs(value) > 1 or different > FEW)
        if far or (value < 0 <= others[0] and different > FEW):
            return text
    return ""


def _is_far(value: float, others: list[float]) -> bool:
    """Whether a number lies further from the `others`, which rise, than they from each other."""
    return max(others[0] - value, value - others[-1]) > others[-1] - others[0]


def _oddness(code: str, reading: numbers.Reading) -> str:
    value = float(reading.numbers[code])
    others = sorted(float(n) for n in reading.numbers.values() if float(n) != value)
    return "is a far-off number" if _is_far(value, others) else "is the only number below zero"


def two_readings(name: str, readings: list[numbers.Reading], country: Country) -> str:
    """Both readings of a text that has two, "" where there is one. A point is a decimal mark where
    other columns of the table have it as theirs, or the file has types, and nothing speaks for
    decimal commas: another column, or semicolons between the cells."""
    if not readings:
        return ""
    first = readings[0]
    comma = country.comma or _groups_of_three(first)
    if len(readings) == 1 or (first.style == (".", "") and country.point and not comma):
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


def _groups_of_three(reading: numbers.Reading) -> bool:
    """Do points look like marks between thousands: "12.000" with its zeros beside "980"?"""
    pointed = [text for text in reading.numbers if "." in text]
    three = all(re.fullmatch(r"-?[1-9]\d{0,2}\.\d{3}", text) for text in pointed)
    return three and any(t[-1] == "0" for t in pointed) and len(pointed) < len(reading.numbers)


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
    steps_of_one = steps_of_one and not (MEASURE.search(name) or _has_unit(name))
    if steps_of_one and len(plain) > MAX_LEVELS and not (reading.censored or reading.suffix):
        return "identifier", "whole numbers in steps of one, each once"
    if whole and len(plain) > MAX_LEVELS and not reading.censored and ID_NAME.search(name):
        return "identifier", f"{len(plain)} whole numbers, and named so"
    if len(levels) <= MAX_LEVELS and total >= TIMES_A_LEVEL * len(levels):
        return "ordinal", f"{len(levels)} numbers"
    span = f"{plain[0]:.15g} to {plain[-1]:.15g}, {len(levels)} different"
    return ("integer", f"whole numbers, {span}") if whole else ("continuous", span)


def _has_unit(name: str) -> bool:
    unit = UNIT_IN_NAME.search(name)
    return unit is not None and numbers.is_unit(unit[1])


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
        cell = numbers.take_apart(text, reading.suffix.strip() or None)
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
