"""A column of a table: what its values are, how they are stored, and how a user writes them."""

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import norm

from medcodi.data.notation import Notation, parse_number

COLUMN_TYPES = ("continuous", "integer", "ordinal", "categorical")
SCORES = np.linspace(-3.0, 3.0, 61)  # normal scores of the knots
MAX_DECIMALS = 6
MIN_STEPS = 10  # different values that show a step
TRUTH = {True: ("true", "yes", "y", "t", "1"), False: ("false", "no", "n", "f", "0")}


@dataclass
class Column:
    """One column. `categories` are the valid values, in order, of an ordinal or categorical column.
    What a continuous or integer column looks like is set from the training split: `mean`, `std`,
    the observed range `minimum` to `maximum`, the `decimals` that its values have, and `knots`, its
    quantiles at the normal scores `SCORES`, which make its numbers normal whatever their
    distribution; without knots they are standardised. `step`: numbers lie at `minimum` and whole
    multiples of it above. `notation`: how numbers are written where the table comes from.

    Stored values are texts of discrete columns and floats of the others; a date is stored as days,
    a value beyond a bound as the float that its notation gives it."""

    name: str
    type: str
    categories: list[str] = field(default_factory=list)
    mean: float = 0.0
    std: float = 1.0
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    decimals: int | None = None
    knots: list[float] = field(default_factory=list)
    step: float | None = None
    notation: Notation = field(default_factory=Notation)

    def __post_init__(self) -> None:
        if isinstance(self.notation, dict):
            self.notation = Notation(**self.notation)
        if self.type not in COLUMN_TYPES:
            raise ValueError(
                f"column {self.name!r}: type must be one of {COLUMN_TYPES}, got {self.type!r}"
            )
        if self.is_discrete and not self.categories:
            raise ValueError(f"column {self.name!r} is {self.type} and needs its categories")

    @property
    def is_discrete(self) -> bool:
        return self.type in ("ordinal", "categorical")

    def to_dict(self) -> dict[str, Any]:
        """Arguments of an equal column, JSON-like."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return values | {
            "categories": list(self.categories),
            "knots": list(self.knots),
            "notation": {f.name: getattr(self.notation, f.name) for f in fields(Notation)},
        }

    def read(self, value: Any) -> float | str:
        """What is stored for a stored value, or for one as a user writes it (the text of a number,
        a date, a bound; True for "yes"). Raises ValueError with the reason."""
        if self.is_discrete:
            return self._category(value)
        if isinstance(value, (datetime.datetime, datetime.date)):  # pandas.Timestamp is one, too
            value = value.isoformat() if not self.notation.is_date else self._days(value)
        if isinstance(value, str):
            try:
                number = self.notation.read(value.strip())
            except ValueError as error:
                plain = parse_number(value)
                if plain is None:
                    raise error from None
                number = float(plain)
        else:
            try:
                number = float(value)
            except (TypeError, ValueError):
                raise ValueError(f"expected a number, got {value!r}") from None
        if not math.isfinite(number):
            raise ValueError(f"expected a finite number, got {value!r}")
        if self.type == "integer" and not number.is_integer() and number not in self.bounds:
            raise ValueError(f"expected an integer, got {value!r}")
        return number

    @property
    def shows_number(self) -> bool:
        """Whether `show` gives numbers."""
        return not self.is_discrete and self.notation.is_plain

    def show(self, stored: Any) -> Any:
        """A stored value as the table that it comes from has it: a text, or a number where it is
        written as such; None where it is missing."""
        if stored is None or self.is_discrete:
            return stored
        if not self.shows_number:
            return self.notation.write(stored, 0 if self.type == "integer" else self.decimals)
        return int(stored) if self.type == "integer" else float(stored)

    def text(self, stored: Any) -> str:
        """A stored value as a cell of a csv file, "" where it is missing."""
        if stored is None:
            return ""
        if self.is_discrete:
            return str(stored)
        return self.notation.write(stored, 0 if self.type == "integer" else self.decimals)

    @property
    def bounds(self) -> set[float]:
        """The floats that stand for values beyond a bound."""
        return set(self.notation.censored.values())

    @cached_property
    def _spellings(self) -> dict[str, str]:
        """Other spellings of a category that no two categories share: case, 1.0 for 1, True for
        yes."""
        found: dict[str, list[str]] = {}
        for category in self.categories:
            number = parse_number(category)
            keys = {category.casefold()} | (
                {f"number {number.normalize()}"} if number is not None else set()
            )
            keys |= {
                f"truth {truth}" for truth, words in TRUTH.items() if category.casefold() in words
            }
            for key in keys:
                found.setdefault(key, []).append(category)
        return {key: names[0] for key, names in found.items() if len(names) == 1}

    def _category(self, value: Any) -> str:
        text = str(value)
        if text in self.categories:
            return text
        if isinstance(value, (bool, np.bool_)):
            keys = [f"truth {bool(value)}"]
        else:
            number = parse_number(text)
            keys = [text.strip().casefold()]
            keys += [f"number {number.normalize()}"] if number is not None else []
        for key in keys:
            if key in self._spellings:
                return self._spellings[key]
        raise ValueError(f"{value!r} is not one of {self.categories}")

    def _days(self, value: datetime.date) -> float:
        start = Notation(origin=self.notation.origin, date_format="")
        return start.read(value.isoformat())

    def fit(self, values: Sequence[float]) -> None:
        """Describe a numeric column by its training values."""
        known = np.asarray(values, float)
        self.mean, self.std = float(known.mean()), max(float(known.std()), 1e-6)
        self.minimum, self.maximum = float(known.min()), float(known.max())
        self.knots = [
            self.minimum,
            *np.quantile(known, norm.cdf(SCORES[1:-1])).tolist(),
            self.maximum,
        ]
        exact = known[~np.isin(known, list(self.bounds))] if self.bounds else known
        exact = exact if len(exact) else known
        whole = (d for d in range(MAX_DECIMALS) if np.abs(exact - exact.round(d)).max() <= 1e-9)
        self.decimals = 0 if self.type == "integer" else next(whole, None)
        open_ended = {self.minimum, self.maximum} <= self.bounds  # no end to count steps from
        self.step = None if open_ended else _step(exact, self.decimals)

    def to_scores(self, values: np.ndarray) -> np.ndarray:
        """Numbers -> normal scores (the middle one of a value that many rows share), linear beyond
        the observed range."""
        if not self.knots:
            return (values - self.mean) / self.std
        knots = np.array(self.knots)
        upper, lower = (
            np.interp(values, knots, SCORES),
            -np.interp(-values, -knots[::-1], -SCORES[::-1]),
        )
        return (upper + lower) / 2 + (values - values.clip(knots[0], knots[-1])) / self.std

    def from_scores(self, scores: np.ndarray) -> np.ndarray:
        """Inverse of `to_scores`, inside the observed range, with the column's decimals."""
        values = (
            np.interp(scores, SCORES, self.knots) if self.knots else scores * self.std + self.mean
        )
        if self.minimum is not None:
            values = values.clip(self.minimum, self.maximum)
        return self.tidy(values)

    def tidy(self, values: np.ndarray) -> np.ndarray:
        """Numbers (N,) with the column's decimals and steps, inside its range; those beyond a bound
        stay."""
        low, high = self.minimum, self.maximum
        decimals = self.decimals
        if decimals is None:  # six digits of its spread
            decimals = MAX_DECIMALS - min(0, math.floor(math.log10(max(self.std, 1e-300))))
        if self.step is not None and low is not None:
            start = min(v for v in (low, high) if v not in self.bounds) if self.bounds else low
            tidied = start + ((values - start) / self.step).round() * self.step
        else:
            tidied = values
        tidied = tidied.round(0 if self.type == "integer" else decimals)
        if low is not None:
            tidied = tidied.clip(low, high)
        if not self.bounds:
            return tidied
        return np.where(np.isin(values, list(self.bounds)), values, tidied)


def _step(values: np.ndarray, decimals: int | None) -> float | None:
    """The largest step, of at least two units in the last decimal, in which all of 10 or more
    different values lie."""
    different = np.unique(values)
    if decimals is None or len(different) < MIN_STEPS or np.abs(different).max() > 1e12:
        return None
    units = np.round((different - different[0]) * 10**decimals).astype(np.int64)
    step = int(np.gcd.reduce(units))
    return step / 10**decimals if step > 1 else None
