"""Schema of a clinical table row: columns with their types, and rows <-> tensors with NaN for missing."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

COLUMN_TYPES = ("continuous", "integer", "ordinal", "categorical")


@dataclass
class Column:
    """One column. `categories` are the valid values, in order, of an ordinal or categorical column;
    `mean` and `std` standardise a continuous or integer column (set from the training split);
    `minimum` and `maximum` are the observed range."""

    name: str
    type: str
    categories: list[str] = field(default_factory=list)
    mean: float = 0.0
    std: float = 1.0
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if self.type not in COLUMN_TYPES:
            raise ValueError(f"column {self.name!r}: type must be one of {COLUMN_TYPES}, got {self.type!r}")
        if self.is_discrete and not self.categories:
            raise ValueError(f"column {self.name!r} is {self.type} and needs its categories")

    @property
    def is_discrete(self) -> bool:
        return self.type in ("ordinal", "categorical")


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
        """Set mean, std and range of the numeric columns from `rows` (missing values ignored)."""
        for column in self.columns:
            if column.is_discrete:
                continue
            values = [float(row[column.name]) for row in rows if row.get(column.name) is not None]
            if not values:
                raise ValueError(f"column {column.name!r} has no value in {len(rows)} rows: drop it from the schema")
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / len(values)
            column.mean, column.std = mean, max(math.sqrt(variance), 1e-6)
            column.minimum, column.maximum = min(values), max(values)
        return self

    def encode(self, rows: list[dict[str, Any]]) -> torch.Tensor:
        """Rows -> (B, F) float32: standardised numbers, category index for discrete columns, NaN where missing.

        Raises ValueError for a column that is not in the schema and for a value outside the categories.
        """
        table = torch.full((len(rows), len(self.columns)), float("nan"))
        known = set(self.names)
        for i, row in enumerate(rows):
            for key in row:
                if key not in known:
                    raise ValueError(f"row {i}: unknown column {key!r}. The schema has: {', '.join(self.names)}")
            for j, column in enumerate(self.columns):
                value = row.get(column.name)
                if value is None or (isinstance(value, float) and math.isnan(value)):
                    continue
                table[i, j] = self._encode_value(column, value, i)
        return table

    @staticmethod
    def _encode_value(column: Column, value: Any, row: int) -> float:
        if column.is_discrete:
            if str(value) not in column.categories:
                raise ValueError(
                    f"row {row}, column {column.name!r}: value {value!r} is not one of {column.categories}"
                )
            return float(column.categories.index(str(value)))
        try:
            return (float(value) - column.mean) / column.std
        except (TypeError, ValueError):
            raise ValueError(f"row {row}, column {column.name!r}: expected a number, got {value!r}") from None

    def decode(self, table: torch.Tensor) -> list[dict[str, Any]]:
        """(B, F) as made by `encode` -> rows; numbers are clipped to the observed range, NaN becomes None."""
        rows = []
        for values in table.tolist():
            rows.append({c.name: self._decode_value(c, v) for c, v in zip(self.columns, values, strict=True)})
        return rows

    @staticmethod
    def _decode_value(column: Column, value: float) -> Any:
        if math.isnan(value):
            return None
        if column.is_discrete:
            return column.categories[min(max(round(value), 0), len(column.categories) - 1)]
        number = value * column.std + column.mean
        if column.minimum is not None:
            number = min(max(number, column.minimum), column.maximum)
        return round(number) if column.type == "integer" else round(number, 4)
