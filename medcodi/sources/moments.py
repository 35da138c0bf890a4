"""Dates as hospitals write them: the form of a column of texts, or the forms that it may have."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from medcodi.data.dates import EXCEL, date_form
from medcodi.data.month_names import languages_of

SHARE_OF_DATES = 0.95
DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%m.%d.%Y"),
    *("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%d. %B %Y", "%d%b%Y", "%d/%b/%Y"),
    *("%d. %b %Y", "%d.%b.%Y", "%d-%B-%Y", "%d.%B %Y"),
    *("%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y"),
    *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%y-%m-%d", "%d-%m-%y", "%m-%d-%y", "%y/%m/%d"),
    *("%d-%b-%y", "%d %b %y", "%d%b%y", "%d. %b %y", "%d.%b.%y"),
)
MONTHS_ONLY = ("%Y-%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y")
CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p")
CUSTOM = {"%m.%d.%Y": "%d.%m.%Y"}  # nobody writes the first where the second fits as well
OFFSET = re.compile(r"(?<=\d)(?: ?(?:Z|UTC)|[+-]\d\d:?\d\d)$")
SHAPE = re.compile(r"\d{8}|(?=.*\d).*[-/.: ,A-Za-z].*")
WORD = re.compile(r"[^\W\d_]{3,}")
NAMED = re.compile(r"date|datum|fecha|dob\b|_dt\b|birth(?!_?(weight|order))", re.IGNORECASE)
SERIALS = 20000, 60000  # days of the years 1954 to 2064
ISO = ""


@dataclass(frozen=True)
class Moments:
    """`forms`: those that read the texts, with different results where there are several. `clock`
    is true of times without a day. `mixed` says why no form reads them all."""

    forms: tuple[str, ...]
    clock: bool = False
    mixed: str = ""


def read_moments(counts: Mapping[str, int]) -> Moments:
    """The forms of dates that read at least 95 % of the texts, the best ones."""
    total = sum(counts.values())
    if not counts or sum(n for text, n in counts.items() if SHAPE.match(text)) < 0.3 * total:
        return Moments(())
    offset = _offset(counts)
    texts = {text[: len(text) - len(offset)]: n for text, n in counts.items()} if offset else counts
    clocks = any(":" in text for text in texts)
    words = {word.lower() for text in texts for word in WORD.findall(text)}
    named = [form for form in (*DAYS, *MONTHS_ONLY) if "%b" in form.lower()]
    foreign = [f"{one}: {form}" for one in languages_of(words) for form in named]
    forms = [*DAYS, *MONTHS_ONLY, *foreign]
    if clocks:
        days = [form for form in (*DAYS, *foreign) if form not in MONTHS_ONLY]
        forms = [
            f"{day}{mark}{clock}" for day in days for mark in (" ", "T", ", ") for clock in CLOCKS
        ]
        forms += CLOCKS
    reads = {form: read for form in forms if (read := _read(texts, form))}
    weights = {form: sum(texts[text] for text in read) for form, read in reads.items()}
    best = max(weights.values(), default=0)
    if best < total and (iso := _read(counts, ISO)) and sum(counts[t] for t in iso) > best:
        return (
            Moments((ISO,))
            if sum(counts[t] for t in iso) >= SHARE_OF_DATES * total
            else Moments(())
        )
    if best < SHARE_OF_DATES * total:
        return Moments((), mixed=_why_not(counts, texts, reads, best, total))
    chosen: list[str] = []
    for form, read in reads.items():
        same = any(read == reads[other] for other in chosen)
        if weights[form] == best and not same and not _is_odd(form, reads, weights, best):
            chosen.append(form)
    rest = set(texts) - set(reads[chosen[0]])
    if any(rest & set(read) for form, read in reads.items() if form not in chosen):
        return Moments((), mixed=_why_not(counts, texts, reads, best, total))
    return Moments(tuple(form + offset for form in chosen), chosen[0] in CLOCKS)


def _is_odd(form: str, reads: Mapping, weights: Mapping[str, int], best: int) -> bool:
    """Whether another form is the custom one for the same texts."""
    for odd, usual in CUSTOM.items():
        if form.startswith(odd) and weights.get(form.replace(odd, usual)) == best:
            return True
    return False


def _read(texts: Iterable[str], form: str) -> dict[str, datetime]:
    read = date_form(form).read
    found: dict[str, datetime] = {}
    for number, text in enumerate(texts):
        moment = read(text)
        if moment is not None and (form != "%Y%m%d" or 1900 <= moment.year <= 2100):
            found[text] = moment
        elif number == 50 and len(found) < 10:  # a column of other texts
            return {}
    return found


def _offset(texts: Iterable[str]) -> str:
    """The time zone that stands at the end of all texts, "" where there is none or several."""
    found = {
        match[0] if (match := OFFSET.search(text)) and ":" in text[:-4] else "" for text in texts
    }
    return found.pop() if len(found) == 1 else ""


def _why_not(
    counts: Mapping[str, int], texts: Mapping[str, int], reads: Mapping, best: int, total: int
) -> str:
    """What is told of a column that holds dates of several forms, "" of any other column."""
    if not reads:
        return ""
    covered = set().union(*reads.values())
    serial = {text for text in texts if is_serial(text)}
    weight = sum(texts[text] for text in covered | serial)
    if best < 0.3 * total or weight < SHARE_OF_DATES * total:
        return ""
    form = max(reads, key=lambda form: len(reads[form]))
    other = next(text for text in texts if text not in reads[form])
    one = next(iter(reads[form]))
    return f"dates are written in several forms, as {one!r} and {other!r}"


def most_days(texts: Iterable[str]) -> set[str]:
    """Those of the texts that the best form of a day reads."""
    texts = list(texts)
    return set(max((_read(texts, form) for form in DAYS), key=len, default=()))


def is_serial(text: str) -> bool:
    """Whether a text may be a date as Excel counts days."""
    try:
        return "_" not in text and SERIALS[0] <= float(text) <= SERIALS[1]
    except ValueError:
        return False


def may_be_serials(name: str, texts: Iterable[str]) -> bool:
    """Whether a column of numbers may hold Excel's serial days: by its name and its range."""
    return bool(NAMED.search(name)) and all(is_serial(text) for text in texts)


def spelled(form: str, text: str, first_year: int | None = None) -> str:
    """A date in words, as it is read by a form."""
    moment = date_form(form).read(text, first_year)
    if moment is None:
        return "nothing"
    return f"{moment.day} {moment:%B %Y}" + (f", {moment:%H:%M}" if ":" in text else "")


def is_padded(form: str, texts: Iterable[str]) -> bool:
    """Whether days, months and hours below ten are written with a zero."""
    shape = date_form(form)
    return form in (ISO, EXCEL) or all(
        (moment := shape.read(text)) is None
        or shape.write(moment) == text
        or shape.write(moment, False) != text
        for text in texts
    )
