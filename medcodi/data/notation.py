"""How the cells of a column of numbers are written: text <-> number.

A number may have a decimal comma, marks between thousands, a unit, a bound ("> 89"), or be a date.
Reading and writing are inverse, so that generated cells look as the given ones.
"""

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from medcodi.data.dates import date_form

SPACES = " \u00a0\u202f\u2009"
MARKS = {"": "", ".": r"\.", ",": ",", "'": "['\u2019]", " ": f"[{SPACES}]", ".,": "[.,]"}
DECIMALS, THOUSANDS = (".", ",", ".,"), ("", ",", ".", " ", "'")
MINUS = str.maketrans({"\u2212": "-", "\u2013": "-"})
INFINITE = ("nan", "inf", "infinity")
DAY = 86400.0


@lru_cache(maxsize=64)
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    whole = r"\d+"
    if thousands:
        mark = MARKS[thousands]
        whole = rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+|[1-9]\d?(?:{mark}\d\d)+{mark}\d{{3}}|\d+)"
    point = MARKS[decimal]
    return re.compile(
        rf"([-+]?)(?:({whole})(?:{point}(\d*))?|{point}(\d+))(?:[eE]([-+]?\d{{1,4}}))?", re.ASCII
    )


def parse_number(text: str, decimal: str = ".", thousands: str = "") -> Decimal | None:
    """The exact number, None for any other text. Marks between thousands stand before each three
    digits (or as in 1,00,000) or nowhere."""
    match = _pattern(decimal, thousands).fullmatch(text.strip().translate(MINUS))
    if match is None:
        return None
    sign, whole, fraction, alone, exponent = match.groups()
    digits = re.sub(r"\D", "", whole or "0")
    try:
        number = Decimal(f"{sign}{digits}.{fraction or alone or '0'}e{exponent or 0}")
    except InvalidOperation:
        return None
    return number if math.isfinite(float(number)) else None


@dataclass
class Notation:
    """`decimal`, `thousands`: marks inside a number; `prefix` and `suffix` stand around it, such as
    " mg/L"; `places` is the fixed number of decimals, None for as many as there are.

    `censored`: texts that stand for a number beyond a bound -> the float next to that bound, as
    ">89": 89.00000000000001. With `origin` (ISO 8601) the column holds days since then, written as
    `date_format` says (medcodi.data.dates); `padded`: with leading zeros."""

    decimal: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    places: int | None = None
    censored: dict[str, float] = field(default_factory=dict)
    origin: str = ""
    date_format: str = ""
    first_year: int | None = None
    padded: bool = True

    def __post_init__(self) -> None:
        for key, valid in (("decimal", DECIMALS), ("thousands", THOUSANDS)):
            if getattr(self, key) not in valid:
                raise ValueError(f"{key} must be one of {valid}, got {getattr(self, key)!r}")
        if self.decimal == self.thousands or (
            self.decimal == ".," and self.thousands in (".", ",")
        ):
            raise ValueError(
                f"decimal {self.decimal!r} and thousands {self.thousands!r} must differ"
            )
        self._form = date_form(self.date_format) if self.origin else None
        if self.origin:
            start = date_form("").read(self.origin)
            if start is None:
                raise ValueError(f"origin must be a date as 2020-12-31, got {self.origin!r}")
            self._origin = start

    @property
    def is_date(self) -> bool:
        return bool(self.origin)

    @property
    def is_plain(self) -> bool:
        """Whether a number is written as Python writes it."""
        return self == Notation(places=self.places)

    def read(self, text: str) -> float:
        """Raises ValueError for a text that is no such number."""
        if text in self.censored:
            return self.censored[text]
        if self._form is not None:
            moment = self._form.read(text, self.first_year)
            if moment is None:
                form = f" as {self.date_format}" if self.date_format else ""
                raise ValueError(f"expected a date{form}, got {text!r}")
            return (moment - self._origin).total_seconds() / DAY
        core = text
        if self.prefix and core.startswith(self.prefix):
            core = core[len(self.prefix) :]
        if self.suffix and core.endswith(self.suffix):
            core = core[: -len(self.suffix)]
        elif self.suffix and core.endswith(self.suffix.strip()):
            core = core[: -len(self.suffix.strip())]
        number = parse_number(core, self.decimal, self.thousands)
        if number is None:
            finite = " finite" if text.lstrip("+-").lower() in INFINITE else ""
            raise ValueError(f"expected a{finite} number{self._told()}, got {text!r}")
        return float(number)

    def write(self, value: float, decimals: int | None = None) -> str:
        """The text of a number with `decimals` (None: as many as it takes)."""
        for text, bound in self.censored.items():
            if value == bound:
                return text
        if self._form is not None:
            return self._form.write(self._moment(value), self.padded)
        places = self.places if self.places is not None else decimals
        if places is not None:
            text = f"{value:.{max(places, 0)}f}"
            if self.places is None and "." in text:
                text = text.rstrip("0").rstrip(".")
        else:
            text = format(Decimal(repr(float(value))).normalize(), "f")
        if not text.strip("-0."):
            text = text.lstrip("-")
        whole, point, fraction = text.partition(".")
        if self.thousands:
            whole = f"{int(whole):,}".replace(",", self.thousands) if whole != "-0" else whole
        mark = "." if self.decimal == ".," else self.decimal
        return f"{self.prefix}{whole}{mark if point else ''}{fraction}{self.suffix}"

    def _moment(self, days: float) -> datetime:
        step = self._form.resolution.total_seconds()
        seconds = round(days * DAY / step) * step
        try:
            return self._origin + timedelta(seconds=seconds)
        except OverflowError:
            return datetime(9999 if days > 0 else 1, 1, 1, tzinfo=UTC)

    def _told(self) -> str:
        told = [f"decimal {self.decimal!r}"] if self.decimal != "." else []
        told += [f"thousands {self.thousands!r}"] if self.thousands else []
        told += [f"unit {self.suffix.strip()!r}"] if self.suffix else []
        return f" ({', '.join(told)})" if told else ""


def beyond(bound: float, above: bool, taken: set[float]) -> float:
    """The float that stands for what lies beyond `bound`: the nearest one that is not taken."""
    value = math.nextafter(bound, math.inf if above else -math.inf)
    while value in taken:
        value = math.nextafter(value, math.inf if above else -math.inf)
    return value
