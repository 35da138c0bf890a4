"""Schema of a clinical table row: columns with their types, and rows <-> tensors with NaN for
missing."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.stats import norm

COLUMN_TYPES = ("continuous", "integer", "ordinal", "categorical")
SCORES = np.linspace(-3.0, 3.0, 61)  # normal scores of the knots
MAX_DECIMALS = 6


@dataclass
class Column:
    """One column. `categories` are the valid values, in order, of an ordinal or categorical column.
    What a continuous or integer column looks like is set from the training split: `mean`, `std`,
    the observed range `minimum` to `maximum`, the `decimals` that its values have, and `knots`, its
    quantiles at the normal scores `SCORES`, which make its numbers normal whatever their
    distribution; without knots they are standardised."""

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

    def __post_init__(self) -> None:
        if self.type not in COLUMN_TYPES:
            raise ValueError(
                f"column {self.name!r}: type must be one of {COLUMN_TYPES}, got {self.type!r}"
            )
        if self.is_discrete and not self.categories:
            raise ValueError(f"column {self.name!r} is {self.type} and needs its categories")

    @property
    def is_discrete(self) -> bool:
        return self.type in ("ordinal", "categorical")

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
        whole = [
            d for d in range(MAX_DECIMALS) if np.allclose(known, known.round(d), rtol=0, atol=1e-9)
        ]
        self.decimals = 0 if self.type == "integer" else whole[0] if whole else None

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
        decimals = (
            0
            if self.type == "integer"
            else MAX_DECIMALS
            if self.decimals is None
            else self.decimals
        )
        return values.round(decimals)


@dataclass
class TableSchema:
    """Ordered columns. Legend: B rows, F columns."""

    columns: list[Column]

    @classmethod
    def from_dicts(cls, columns: list[dict[str, Any]]) -> "TableSchema":
        return cls([Column(**column) for column in columns])

    def to_dicts(self) -> list[dict[str, Any]]:
        return [asdict(column) for column in self.columns]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def fit(self, rows: list[dict[str, Any]]) -> "TableSchema":
        """Describe the numeric columns by `rows` (missing values ignored)."""
        for column in self.columns:
            if column.is_discrete:
                continue
            values = [float(row[column.name]) for row in rows if row.get(column.name) is not None]
            if not values:
                raise ValueError(
                    f"column {column.name!r} has no value in {len(rows)} rows: drop it from the "
                    "schema"
                )
            column.fit(values)
        return self

    def raw(self, rows: list[dict[str, Any]]) -> np.ndarray:
        """Rows -> (B, F): numbers as they are, category index for discrete columns, NaN where
        missing.

        Raises ValueError for a column that is not in the schema and for a value outside the
        categories.
        """
        table = np.full((len(rows), len(self.columns)), np.nan)
        known = set(self.names)
        for i, row in enumerate(rows):
            for key in row:
                if key not in known:
                    raise ValueError(
                        f"row {i}: unknown column {key!r}. The schema has: {', '.join(self.names)}"
                    )
            for j, column in enumerate(self.columns):
                value = row.get(column.name)
                if value is None or (isinstance(value, float) and math.isnan(value)):
                    continue
                table[i, j] = _number(column, value, i)
        return table

    def encode(self, rows: list[dict[str, Any]]) -> torch.Tensor:
        """As `raw`, float32, with the normal scores of numbers. The same errors."""
        table = self.raw(rows)
        for j, column in enumerate(self.columns):
            if not column.is_discrete:
                table[:, j] = column.to_scores(table[:, j])
        return torch.from_numpy(table).float()

    def decode(self, table: torch.Tensor) -> list[dict[str, Any]]:
        """(B, F) as made by `encode` -> rows; numbers are clipped to the observed range, NaN
        becomes None."""
        columns = {}
        for column, values in zip(self.columns, table.double().numpy().T, strict=True):
            if column.is_discrete:
                last = len(column.categories) - 1
                cells = [
                    None if math.isnan(v) else column.categories[min(max(round(v), 0), last)]
                    for v in values.tolist()
                ]
            else:
                number = round if column.type == "integer" else float
                cells = [
                    None if math.isnan(v) else number(v)
                    for v in column.from_scores(values).tolist()
                ]
            columns[column.name] = cells
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _number(column: Column, value: Any, row: int) -> float:
    """The category's index, or the number itself."""
    if column.is_discrete:
        if str(value) not in column.categories:
            raise ValueError(
                f"row {row}, column {column.name!r}: value {value!r} is not one of "
                f"{column.categories}"
            )
        return float(column.categories.index(str(value)))
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"row {row}, column {column.name!r}: expected a number, got {value!r}"
        ) from None
