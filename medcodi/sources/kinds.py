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
from datetime import datetime
from typing import Any

from medcodi.data.dates import DURATIONS, EXCEL, NO_TIME, date_form
from medcodi.sources import moments, numbers
from medcodi.sources.finding import (
    ColumnCorrection,
    Country,
    Finding,
    finding,
    known_style,
    settle,
    unread,
)
from medcodi.sources.levels import is_interval, number_levels, read_levels
from medcodi.sources.mapping import DATETIME
from medcodi.sources.number_kinds import ID_NAME, MAX_LEVELS, numeric
from medcodi.sources.odd_texts import about_text, are_values, odd_texts
from medcodi.sources.respelled import respelled

LEFT_OUT = ("empty", "constant", "identifier", "text", "drop")
MAX_CATEGORIES, TIMES_A_CATEGORY = 50, 2
PAIR = re.compile(r"\d+\s*/\s*\d+|[\d.,]+\s*(?:±|\+/-)\s*[\d.,]+")
DICOM_AGE = re.compile(r"\d{1,3}[DWMY]")
FAR_DAYS = frozenset(  # that stand for no date
    [
        "0001-01-01",
        "1753-01-01",
        "1899-12-30",
        "1899-12-31",
        "1900-01-01",
        "1970-01-01",
        "2099-12-31",
        "2100-01-01",
        "2999-12-31",
        "3000-01-01",
        "9999-12-31",
    ]
)
FAR = 20 * 365  # days between such a day and all others


def as_wanted(
    kind: str, counts: Counter[str], name: str, rules: ColumnCorrection, country: Country
) -> Finding:
    """The details of a column that is said to be of `kind`."""
    if spelled := respelled(counts):
        found = as_wanted(kind, _plain(counts, spelled), name, rules, country)
        return _with_spelling(found, spelled)
    if kind == DATETIME:
        return _as_dates(counts, name, rules)
    read = numbers.read_numbers(counts, known_style(rules, country), rules.suffix.strip() or None)
    if kind in ("continuous", "integer"):
        found = numeric(read, counts, name, country, kind, exact=False)
        return found or finding(kind, "")
    levels = read_levels(counts)
    if len(read.readings) == 1:
        reading = read.readings[0]
        if len(reading.numbers) + len(reading.censored) > len(counts) / 2:
            levels = number_levels(reading.numbers, counts, reading.censored)
    return finding(kind, "", {"categories": levels.categories, "map": levels.map}, levels.changed)


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
        return finding("empty", "no value")
    if len(counts) == 1:
        return finding("constant", f"always {next(iter(counts))[:40]!r}")
    if rules.date_format or rules.origin:
        return _as_dates(counts, name, rules)
    if spelled := respelled(counts):
        plain = _plain(counts, spelled)
        found = infer(plain, name, rules, country)
        numeric_texts = numbers.read_numbers(plain, known_style(rules, country)).readings
        if numeric_texts or found.kind == DATETIME or found.ambiguous:
            return _with_spelling(found, spelled)
        return _texts(counts, name, numbers.Numbers([]))
    dates = moments.read_moments(counts)
    if dates.forms:
        return _dates(dates, counts, name, rules)
    if dates.mixed:
        why = f"{dates.mixed}: write them in one"
        return finding("text", why, ambiguous=settle(name, why, "type: drop"))
    read = numbers.read_numbers(counts, known_style(rules, country), rules.suffix.strip() or None)
    found = numeric(read, counts, name, country)
    return found or _texts(counts, name, read)


def _with_spelling(found: Finding, spelled: dict[str, str]) -> Finding:
    """The finding for plain texts, with the texts of the column that stand for them."""
    inner = found.details.get("map", {})
    found.details["map"] = inner | {t: inner.get(n, n) for t, n in spelled.items()}
    text, plain = next(iter(spelled.items()))
    more = f", and {len(spelled) - 1} more" if len(spelled) > 1 else ""
    found.changed.append(f"{text!r} is {plain}{more}")
    return found


def _plain(counts: Counter[str], spelled: dict[str, str]) -> Counter[str]:
    plain: Counter[str] = Counter()
    for text, number in counts.items():
        plain[spelled.get(text, text)] += number
    return plain


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
        origin = NO_TIME if form in DURATIONS else min(known.values())
        details["origin"] = origin.date().isoformat()
    if not moments.is_padded(form, known):
        details["padded"] = False
    what = "durations" if form in DURATIONS else "times" if found.clock else "dates"
    why = f"{len(known)} {what}" + (f" as {form}" if form else ", ISO 8601")
    changed = unread([text for text in counts if text not in known], counts, what)
    if not form and any(moments.ZONE.search(text) for text in known if ":" in text):
        changed.append("times of several zones are read, and written again, in UTC")
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
    elif far := _far_day(known, rules):
        what = f"{far!r} ({counts[far]} times) is a date or stands for no value"
        ambiguous = settle(name, what, f'missing: ["{far}"]', f'keep: ["{far}"]')
    return finding(DATETIME, why, details, changed, ambiguous)


def _far_day(known: dict[str, datetime], rules: ColumnCorrection) -> str:
    """The text of a day such as 9999-12-31 that is far from all others; "" where there is none."""
    for text, moment in known.items():
        apart = [abs((m - moment).days) for m in known.values() if m.date() != moment.date()]
        odd = moment.date().isoformat() in FAR_DAYS and text not in rules.keep
        if odd and min(apart, default=0) > FAR:
            return text
    return ""


def _texts(counts: Counter[str], name: str, read: numbers.Numbers) -> Finding:
    """The finding for a column of other texts."""
    total = sum(counts.values())
    levels = read_levels(counts)
    if levels.clash:
        what = f"{levels.clash} differ in case only: one level or two"
        line = f"type: categorical, categories: {json.dumps(sorted(counts), ensure_ascii=False)}"
        return finding(
            "text",
            "case alone tells its levels apart",
            ambiguous=settle(name, what, line, "type: drop"),
        )
    details = {"categories": levels.categories, "map": levels.map}
    size = len(levels.categories)
    codes = all(text.isdigit() for text in counts)  # with leading zeros, or too long
    if size <= MAX_LEVELS and not codes and all(is_interval(text) for text in counts):
        return finding("ordinal", f"{size} intervals", details, levels.changed)
    if sum(n for text, n in counts.items() if PAIR.fullmatch(text)) > total / 2:
        return finding("text", "pairs of numbers: make two columns of them")
    if any("Y" in t for t in counts) and all(DICOM_AGE.fullmatch(text) for text in counts):
        lines = ('type: integer, suffix: "Y"', "type: drop")
        why = "ages as DICOM writes them"
        return finding("text", why, ambiguous=settle(name, why, *lines))
    if len(counts) == total and not ID_NAME.search(name) and are_values(counts):
        return finding("text", about_text(counts, total))
    if len(counts) == total or (ID_NAME.search(name) and len(counts) > MAX_CATEGORIES):
        once = "each value once" if len(counts) == total else f"{len(counts)} values, and named so"
        return finding("identifier", once)
    if size <= MAX_CATEGORIES and total >= TIMES_A_CATEGORY * size:
        if ambiguous := odd_texts(counts, name):
            return finding("text", "numbers or times in another form", ambiguous=ambiguous)
        return finding("categorical", f"{size} texts", details, levels.changed)
    return finding("text", about_text(counts, total))
