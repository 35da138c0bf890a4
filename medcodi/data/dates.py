"""Dates and times in a fixed form: text -> datetime -> the same text.

A form is written in strptime's directives. Unlike strptime, the names of months do not depend on
the machine: they are English, or of the language before the form, as in "de: %d. %B %Y"
(data/month_names.py); `%o` is the day as an ordinal number ("1st", "1er"), `%a` and `%A` are days
of the week in English. Digits may lack their leading zero, and a form is compiled once. A duration
has the form that spreadsheets give it, "[h]:mm", and is the moment so long after 1900 began.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from medcodi.data.month_names import NAMES, WEEKDAYS, month_names, ordinal, ordinals

EXCEL = "excel"  # serial days, 1 = 1900-01-01, as Excel counts them
EXCEL_ORIGIN = datetime(1899, 12, 30, tzinfo=UTC)
LANGUAGE = re.compile(r"([a-z]{2}\d?): ?(?=.*%[bB])")
DURATIONS = {  # form -> its pattern and the seconds of its parts
    "[h]:mm": (r"(\d{1,5}):([0-5]\d)", (3600, 60)),
    "[h]:mm:ss": (r"(\d{1,5}):([0-5]\d):([0-5]\d)", (3600, 60, 1)),
    "[m]:ss": (r"(\d{1,6}):([0-5]\d)", (60, 1)),
}
NO_TIME = datetime(1900, 1, 1, tzinfo=UTC)  # the duration zero
DIRECTIVES = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "b": "",  # of the language
    "B": "",
    "o": "",
    "a": f"(?P<a>{'|'.join(day[:3] for day in WEEKDAYS)})",
    "A": f"(?P<A>{'|'.join(WEEKDAYS)})",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "M": r"(?P<M>\d{2})",
    "S": r"(?P<S>\d{2})",
    "f": r"(?P<f>\d{1,6})",
    "p": r"(?P<p>[AaPp]\.?[Mm]\.?)",
}
PACKED = re.compile(r"%[mdHI](?=%[A-Za-z])|(?<=%[YymdbBH])%[mdHI]")  # without a mark between


@dataclass(frozen=True)
class DateForm:
    """`pattern` matches a whole text; `resolution` is the step of what the form can say;
    `language`: of its months."""

    text: str
    pattern: re.Pattern[str]
    resolution: timedelta
    language: str = "en"

    @property
    def has_short_year(self) -> bool:
        return "%y" in self.text

    def read(self, text: str, first_year: int | None = None) -> datetime | None:
        """The moment in UTC, None for any other text; two-digit years lie in the 100 years from
        `first_year` (default 1969, as in strptime)."""
        if self.text == EXCEL:
            return _from_serial(text)
        if not self.text:
            return _from_iso(text)
        if self.text in DURATIONS:
            return _from_duration(text, *DURATIONS[self.text])
        match = self.pattern.fullmatch(text)
        if match is None:
            return None
        part = match.groupdict()
        if "Y" in part:
            year = int(part["Y"])
        elif "y" in part:
            first = 1969 if first_year is None else first_year
            year = first + (int(part["y"]) - first) % 100
        else:
            year = 1900
        month = self._month(part)
        hour = int(part.get("H") or 0)
        if "I" in part:
            if not 1 <= int(part["I"]) <= 12:
                return None
            hour = int(part["I"]) % 12 + 12 * (part.get("p") or "a").lower().startswith("p")
        micro = int((part.get("f") or "0").ljust(6, "0"))
        day = re.sub(r"\D", "", part.get("d") or part.get("o") or "1")
        clock = hour, int(part.get("M") or 0), int(part.get("S") or 0), micro
        try:
            moment = datetime(year, month, int(day), *clock, tzinfo=UTC)
        except ValueError:
            return None
        weekday = (part.get("a") or part.get("A") or "").lower()
        return moment if WEEKDAYS[moment.weekday()].lower().startswith(weekday) else None

    def write(self, moment: datetime, padded: bool = True) -> str:
        """`padded`: whether days, months and hours below ten have their leading zero."""
        if self.text == EXCEL:
            days = (moment - EXCEL_ORIGIN).total_seconds() / 86400
            return f"{days:.10f}".rstrip("0").rstrip(".")
        if self.text in DURATIONS:
            seconds = max((moment - NO_TIME).total_seconds(), 0)
            return _duration(seconds, DURATIONS[self.text][1], padded)
        if not self.text:
            whole_day = not (moment.hour or moment.minute or moment.second or moment.microsecond)
            return (
                moment.date().isoformat()
                if whole_day
                else moment.replace(tzinfo=None).isoformat(" ")
            )
        long, short_names = month_names(self.language)
        values = {
            "Y": f"{moment.year:04d}",
            "y": f"{moment.year % 100:02d}",
            "b": short_names[moment.month - 1],
            "B": long[moment.month - 1],
            "M": f"{moment.minute:02d}",
            "S": f"{moment.second:02d}",
            "f": f"{moment.microsecond:06d}",
            "p": "PM" if moment.hour >= 12 else "AM",
            "o": ordinal(self.language, moment.day),
            "a": WEEKDAYS[moment.weekday()][:3],
            "A": WEEKDAYS[moment.weekday()],
        }
        short = {
            "m": moment.month,
            "d": moment.day,
            "H": moment.hour,
            "I": (moment.hour - 1) % 12 + 1,
        }
        values |= {key: f"{value:02d}" if padded else str(value) for key, value in short.items()}
        form = LANGUAGE.sub("", self.text, count=1)
        return re.sub(r"%([A-Za-z])", lambda match: values[match[1]], form)

    def _month(self, part: dict[str, str]) -> int:
        name = (part.get("b") or part.get("B") or "").lower()
        if not name:
            return int(part.get("m") or 1)
        long, short = month_names(self.language)
        return [n.lower() for n in (long if "B" in part else short)].index(name) + 1


@lru_cache(maxsize=512)
def date_form(text: str) -> DateForm:
    """ "" is ISO 8601 in any of its forms, "excel" serial days. Raises ValueError for a directive
    that is not known."""
    if text in DURATIONS:
        step = timedelta(seconds=DURATIONS[text][1][-1])
        return DateForm(text, re.compile(DURATIONS[text][0]), step)
    if text in ("", EXCEL):
        return DateForm(text, re.compile(""), timedelta(microseconds=1))
    pattern, used = "", set()
    named = LANGUAGE.match(text)
    language = named[1] if named else "en"
    if language not in NAMES:
        raise ValueError(f"date_format {text!r}: the language is one of {', '.join(NAMES)}")
    for piece in re.split(r"(%.)", LANGUAGE.sub("", text, count=1)):
        if not piece.startswith("%"):
            pattern += re.escape(piece)
        elif piece[1] not in DIRECTIVES or piece[1] in used:
            raise ValueError(
                f"date_format {text!r}: {piece} is not known or stands twice. Known: "
                f"{' '.join('%' + key for key in DIRECTIVES)}"
            )
        else:
            used.add(piece[1])
            pattern += DIRECTIVES[piece[1]] or _names(language, piece[1])
    if PACKED.search(text):  # digits side by side have fixed widths
        pattern = pattern.replace(r"\d{1,2}", r"\d{2}")
    steps = {"f": timedelta(microseconds=1), "S": timedelta(seconds=1), "M": timedelta(minutes=1)}
    steps |= {"H": timedelta(hours=1), "I": timedelta(hours=1)}
    resolution = next((step for key, step in steps.items() if key in used), timedelta(days=1))
    return DateForm(text, re.compile(pattern, re.IGNORECASE), resolution, language)


def _names(language: str, directive: str) -> str:
    """The pattern of a month's name, or of a day's ordinal number."""
    if directive == "o":
        return f"(?P<o>{ordinals(language)})"
    names = month_names(language)[directive == "b"]
    return f"(?P<{directive}>{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})"


def _from_iso(text: str) -> datetime | None:
    if "W" in text:  # a week is no day
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _from_serial(text: str) -> datetime | None:
    try:
        days = float(text)
    except ValueError:
        return None
    if not 1 <= days < 2958466 or "_" in text:  # up to the year 9999
        return None
    return EXCEL_ORIGIN + timedelta(days=days)


def _from_duration(text: str, pattern: str, seconds: tuple[int, ...]) -> datetime | None:
    match = re.fullmatch(pattern, text, re.ASCII)
    if match is None:
        return None
    parts = zip(match.groups(), seconds, strict=True)
    return NO_TIME + timedelta(seconds=sum(int(part) * unit for part, unit in parts))


def _duration(total: float, seconds: tuple[int, ...], padded: bool) -> str:
    """So many seconds in parts of these units, the first one unbounded."""
    left, parts = round(total / seconds[-1]) * seconds[-1], []
    for unit in seconds:
        part, left = divmod(left, unit)
        parts.append(f"{part:02d}" if parts or padded else str(part))
    return ":".join(parts)
