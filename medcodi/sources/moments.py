"""Dates as hospitals write them: the form of a column of texts, or the forms that it may have."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from medcodi.data.dates import DURATIONS, EXCEL, date_form
from medcodi.data.month_names import languages_of

SHARE_OF_DATES = 0.95
SAMPLE = 200  # texts that show how times are written
DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%m.%d.%Y"),
    *("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%d. %B %Y", "%d%b%Y", "%d/%b/%Y"),
    *("%d. %b %Y", "%d.%b.%Y", "%d-%B-%Y", "%d.%B %Y"),
    *("%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y"),
    *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%y-%m-%d", "%d-%m-%y", "%m-%d-%y", "%y/%m/%d"),
    *("%d-%b-%y", "%d %b %y", "%d%b%y", "%d. %b %y", "%d.%b.%y"),
    *("%o %B %Y", "%o of %B %Y", "%o %b %Y", "%B %o, %Y", "%B %o %Y", "%b %o, %Y", "%b %o %Y"),
    *("%d of %B %Y", "%d de %B de %Y", "%o de %B de %Y", "%d de %b de %Y"),
    *("%a, %d %b %Y", "%a %d %b %Y", "%A, %B %d, %Y", "%A, %d %B %Y", "%A %d %B %Y"),
    *("%a %d/%m/%Y", "%a %m/%d/%Y", "%a, %b %d, %Y", "%a %b %d %Y"),
)
MONTHS_ONLY = ("%Y-%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y")
CLOCKS = (
    *("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p"),
    *("%Hh%M", "%H h %M"),
)
CUSTOM = {"%m.%d.%Y": "%d.%m.%Y"}  # nobody writes the first where the second fits as well
ZONES = (
    "CET|CEST|MEZ|MESZ|WET|WEST|EET|EEST|GMT|BST|IST|EST|EDT|CST|CDT|MST|MDT|PST|PDT|AKST|AKDT|HST"
    "|AEST|AEDT|ACST|AWST|NZST|NZDT|JST|ET|CT|MT|PT|UTC|Z"
)
ZONE = re.compile(rf"(?:(?<=\d)|(?<=[AaPp][Mm])) ?(?:{ZONES}|Uhr|hrs|h|[+-]\d\d:?\d\d)$")
TIME = re.compile(r"\d\d? ?[:h] ?\d\d")  # of a day
SPAN = re.compile(r"\d{1,5}:[0-5]\d(?P<seconds>:[0-5]\d)?", re.ASCII)  # a time or a duration
DAY_HOURS = 24
MIDNIGHTS = ("24:00", "24:00:00")
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
    if spans := _spans(counts, total):
        return Moments(spans)
    zones = _zones(counts)
    offset = zones.pop() if len(zones) == 1 else ""
    texts = {text[: len(text) - len(offset)]: n for text, n in counts.items()} if offset else counts
    clocks = any(TIME.search(text) for text in texts)
    words = {word.lower() for text in texts for word in WORD.findall(text)}
    named = [form for form in (*DAYS, *MONTHS_ONLY) if "%b" in form.lower()]
    foreign = [f"{one}: {form}" for one in languages_of(words) for form in named]
    known = [form for form in DAYS if words or form not in named]
    forms = [*known, *MONTHS_ONLY, *foreign]
    if clocks:
        days = [form for form in (*known, *foreign) if form not in MONTHS_ONLY]
        forms = [f"{day}{clock}" for clock in _clocks(texts) for day in days]
        forms += CLOCKS
    reads = {form: read for form in forms if (read := _read(texts, form))}
    weights = {form: sum(texts[text] for text in read) for form, read in reads.items()}
    best = max(weights.values(), default=0)
    least = SHARE_OF_DATES * total
    mixed = _several_zones(counts, zones) if best < least and len(zones) > 1 else ""
    if best < total and (iso := sum(counts[text] for text in _read(counts, ISO))) > best:
        return Moments((ISO,) if iso >= least else (), mixed=mixed if iso < least else "")
    if best < least:
        return Moments((), mixed=mixed or _why_not(counts, texts, reads, best, total))
    chosen: list[str] = []
    for form, read in reads.items():
        same = any(read == reads[other] for other in chosen)
        if weights[form] == best and not same and not _is_odd(form, reads, weights, best):
            chosen.append(form)
    rest = set(texts) - set(reads[chosen[0]])
    if any(rest & set(read) for form, read in reads.items() if form not in chosen):
        return Moments((), mixed=_why_not(counts, texts, reads, best, total))
    return Moments(tuple(form + offset for form in chosen), chosen[0] in CLOCKS)


def _clocks(texts: Iterable[str]) -> list[str]:
    """The forms of a clock, with the mark before them, that end one of the texts."""
    texts = list(texts)
    some = texts[:: 1 + len(texts) // SAMPLE]
    return [
        f"{mark}{clock}"
        for mark in (" ", "T", ", ")
        for clock in CLOCKS
        if any(
            date_form(clock).read(text[start.end() :])
            for text in some
            for start in re.finditer(mark, text)
        )
    ]


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


def _zones(texts: Iterable[str]) -> set[str]:
    """The time zones that stand at the ends of the texts, "" for none."""
    return {
        match[0] if (match := ZONE.search(text)) and TIME.search(text) else "" for text in texts
    }


def _several_zones(counts: Mapping[str, int], zones: set[str]) -> str:
    """What is told of times of several zones, "" of other texts."""
    plain: dict[str, int] = {}
    for text, number in counts.items():
        text = ZONE.sub("", text) if TIME.search(text) else text
        plain[text] = plain.get(text, 0) + number
    if not read_moments(plain).forms:
        return ""
    told = ", ".join(sorted(zone.strip() or "none" for zone in zones))
    return f"times have several zones ({told})"


def _spans(counts: Mapping[str, int], total: int) -> tuple[str, ...]:
    """The forms of durations, of texts such as "36:15" that are no times of a day; () of others."""
    spans = {text: match for text in counts if (match := SPAN.fullmatch(text))}
    long = {t for t in spans if int(t.partition(":")[0]) >= DAY_HOURS and t not in MIDNIGHTS}
    if not long or sum(counts[text] for text in spans) < SHARE_OF_DATES * total:
        return ()
    seconds = {bool(match["seconds"]) for match in spans.values()}
    if len(seconds) > 1:
        return ()
    clock, forms = ("%H:%M:%S", ["[h]:mm:ss"]) if seconds.pop() else ("%H:%M", ["[h]:mm", "[m]:ss"])
    rare = sum(counts[text] for text in long) < (1 - SHARE_OF_DATES) * total
    return (*forms, clock) if rare else tuple(forms)


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
    if form in DURATIONS:
        units = ("h", "min", "s") if form.startswith("[h]") else ("min", "s")
        return " ".join(
            f"{part} {unit}" for part, unit in zip(text.split(":"), units, strict=False)
        )
    if form in CLOCKS:
        return f"{moment:%H:%M:%S} of the day"
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
