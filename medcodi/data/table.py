"""Schema of a clinical table row: columns with their types, and rows <-> tensors with NaN for
missing."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medcodi.config_io import build_dataclass
from medcodi.data.column import COLUMN_TYPES, MAX_DECIMALS, SCORES, Column

__all__ = ["COLUMN_TYPES", "MAX_DECIMALS", "SCORES", "Column", "TableSchema"]


@dataclass
class TableSchema:
    """Ordered columns. Legend: B rows, F columns."""

    columns: list[Column]

    @classmethod
    def from_dicts(cls, columns: list[dict[str, Any]]) -> "TableSchema":
        """ValueError for an unknown key and for a value of the wrong type."""
        if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
            raise ValueError(f"a schema must be a list of columns, got {columns!r:.80}")
        return cls([build_dataclass(Column, column, "a column") for column in columns])

    def to_dicts(self) -> list[dict[str, Any]]:
        return [column.to_dict() for column in self.columns]

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
                whole = column.type == "integer"
                cells = [
                    None if math.isnan(v) else int(v) if whole and v.is_integer() else v
                    for v in column.from_scores(values).tolist()
                ]
            columns[column.name] = cells
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _number(column: Column, value: Any, row: int) -> float:
    """The category's index, or the number itself."""
    try:
        stored = column.read(value)
    except ValueError as error:
        raise ValueError(f"row {row}, column {column.name!r}: {error}") from None
    return float(column.categories.index(stored)) if column.is_discrete else stored
