"""A column as states of a finite set: missing, each category, each frequent number (zero, a bound),
and quantile bins of the other numbers.

What depends on a column then is a matter of states, whatever its distribution is: heavy tails,
zero-inflation and bounds are shares of states. Legend: N rows, S states, K inner knots of a bin.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medcodi.data.table import Column

MISSING = 0
MAX_BINS = 50
POINT_SHARE = 0.02  # a number with this share of the known values has a state of its own
MAX_POINTS = 100  # as many different numbers or fewer have a state each
INNER = 9  # knots inside a bin
MIN_ROWS_A_BIN = 5
MISSING_CODE = -10.0  # below every normal score
POINT_TARGET = 0.1  # as frequent a number among bins counts in a tree as a category does
INDICATOR = 2.0  # weight of an indicator beside a normal score
MAX_INDICATORS = 32


@dataclass
class ColumnStates:
    """State 0 is missing, then `points` (numbers, or the indices of categories), then the bins
    between neighbouring rows of `knots` (bins, K)."""

    column: Column
    points: list[float] = field(default_factory=list)
    knots: list[list[float]] = field(default_factory=list)

    @classmethod
    def fit(cls, column: Column, values: np.ndarray) -> "ColumnStates":
        """From the raw values (N,) of `TableSchema.raw`, NaN missing."""
        if column.is_discrete:
            return cls(column, [float(i) for i in range(len(column.categories))])
        known = values[~np.isnan(values)]
        numbers, counts = np.unique(known, return_counts=True)
        if len(numbers) <= MAX_POINTS and len(known) >= 3 * len(numbers):
            return cls(column, numbers.tolist())
        frequent = counts >= max(POINT_SHARE * len(known), MIN_ROWS_A_BIN)
        frequent |= np.isin(numbers, list(column.bounds))
        rest = known[~np.isin(known, numbers[frequent])]
        bins = int(np.clip(len(rest) // MIN_ROWS_A_BIN, 1, MAX_BINS)) if len(rest) else 0
        edges = np.linspace(0, 1, bins + 1)
        knots = [
            np.quantile(rest, np.linspace(low, high, INNER)).tolist()
            for low, high in itertools.pairwise(edges)
        ]
        return cls(column, numbers[frequent].tolist(), knots)

    @property
    def size(self) -> int:
        return 1 + len(self.points) + len(self.knots)

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Raw values (N,), NaN missing -> states (N,) int64. A number outside the bins is in the
        nearest one, or the nearest point where there are no bins."""
        states = np.zeros(len(values), np.int64)
        known = ~np.isnan(values)
        numbers = values[known]
        points = np.array(self.points)
        if self.knots:
            uppers = np.array([inner[-1] for inner in self.knots])
            found = 1 + len(points) + np.searchsorted(uppers, numbers).clip(max=len(uppers) - 1)
        else:
            found = 1 + np.abs(numbers[:, None] - points[None]).argmin(axis=1)
        if len(points):
            order = np.searchsorted(points, numbers).clip(max=len(points) - 1)
            found = np.where(points[order] == numbers, 1 + order, found)
        states[known] = found
        return states

    def decode(self, states: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """States (N,) and numbers in [0, 1) that place a row inside its bin -> raw values (N,)."""
        values = np.full(len(states), np.nan)
        is_point = (states > MISSING) & (states <= len(self.points))
        if len(self.points):
            values[is_point] = np.array(self.points)[states[is_point] - 1]
        is_bin = states > len(self.points)
        if is_bin.any():
            inner = np.array(self.knots)[states[is_bin] - 1 - len(self.points)]  # (n, K)
            place = uniform[is_bin] * (INNER - 1)
            left = place.astype(int).clip(max=INNER - 2)
            rows = np.arange(len(inner))
            share = place - left
            numbers = inner[rows, left] * (1 - share) + inner[rows, left + 1] * share
            values[is_bin] = self.column.tidy(numbers)
        return values

    def stored(self, raw: np.ndarray) -> np.ndarray:
        """Raw values (N,) -> stored ones: numbers, or names of categories; NaN or None missing."""
        if not self.column.is_discrete:
            return raw
        names = np.array([*self.column.categories, None], object)
        return names[np.where(np.isnan(raw), len(names) - 1, raw).astype(int)]

    def codes(self) -> np.ndarray:
        """(S,) a number for each state, in an order that thresholds can split: the normal score of
        a number, the position of a category, and missing below all of them."""
        if self.column.is_discrete:
            return np.arange(self.size, dtype=float)
        middles = [inner[INNER // 2] for inner in self.knots]
        scores = self.column.to_scores(np.array([*self.points, *middles], float))
        return np.concatenate([[MISSING_CODE], scores])

    def targets(self, states: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """States (N,) -> (N, D), near each other where the states are alike: indicators of the
        categories (random projections of them where there are many), or the normal score beside
        indicators of missing and of frequent points."""
        if self.column.is_discrete:
            vectors = np.eye(self.size)
            if self.size > MAX_INDICATORS:
                shape = (self.size, MAX_INDICATORS)
                vectors = rng.standard_normal(shape) / np.sqrt(MAX_INDICATORS)
            return vectors[states]
        known = states[states != MISSING]
        middle = np.where(states == MISSING, 0.0, self.codes()[states])
        columns = [middle, INDICATOR * (states == MISSING)]
        if self.knots:
            shares = np.bincount(known, minlength=self.size) / max(len(known), 1)
            frequent = 1 + np.flatnonzero(shares[1 : 1 + len(self.points)] > POINT_TARGET)
            columns += [INDICATOR * (states == point) for point in frequent]
        return np.stack(columns, axis=1)

    def to_dict(self) -> dict[str, Any]:
        return {"column": self.column.to_dict(), "points": self.points, "knots": self.knots}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ColumnStates":
        return cls(Column(**values["column"]), values["points"], values["knots"])
