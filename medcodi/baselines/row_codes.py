"""Rows of a table as vectors that networks learn: normal scores of the numbers, then one vector of
zeros and a one for each column of categories.

Legend: N rows, M columns of numbers, K categories of a column, D = M + the sum of all K.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from medcodi.data.table import Column, TableSchema

MIN_STEPS = 10  # of an epoch: few rows make few batches


@dataclass
class RowCodes:
    """`numbers`: the M columns of numbers, described by the training rows; `levels`: the categories
    of each other column."""

    numbers: list[Column]
    levels: dict[str, list[Any]]

    @classmethod
    def fit(cls, rows: pd.DataFrame, schema: TableSchema, discrete: list[str]) -> "RowCodes":
        """From rows without missing cells."""
        numbers = [dataclasses.replace(c) for c in schema.columns if c.name not in discrete]
        for column in numbers:
            column.fit(rows[column.name].to_numpy(float))
        return cls(numbers, {name: sorted(set(rows[name])) for name in discrete})

    @property
    def sizes(self) -> list[int]:
        """K of each column of categories."""
        return [len(levels) for levels in self.levels.values()]

    def encode(self, rows: pd.DataFrame) -> Tensor:
        """-> (N, D) float32."""
        parts = [torch.from_numpy(self._scores(rows)).float()]  # N, M
        for name, levels in self.levels.items():
            places = torch.from_numpy(pd.Categorical(rows[name], levels).codes.astype(np.int64))
            parts.append(F.one_hot(places, len(levels)).float())  # N, K
        return torch.cat(parts, dim=1)

    def decode(self, vectors: Tensor) -> pd.DataFrame:
        """(N, D) -> rows; of a column of categories the one with the largest number."""
        scores, *parts = vectors.split([len(self.numbers), *self.sizes], dim=1)
        columns = {
            column.name: column.from_scores(cells)
            for column, cells in zip(self.numbers, scores.double().numpy().T, strict=True)
        }
        for (name, levels), part in zip(self.levels.items(), parts, strict=True):
            columns[name] = np.array(levels, object)[part.argmax(dim=1).numpy()]
        return pd.DataFrame(columns)

    def _scores(self, rows: pd.DataFrame) -> np.ndarray:
        scores = [column.to_scores(rows[column.name].to_numpy(float)) for column in self.numbers]
        return np.stack(scores, axis=1) if scores else np.zeros((len(rows), 0))


def num_steps(epochs: int, num_rows: int, batch_size: int) -> int:
    """Batches of random rows that a training sees: as many as go into the rows, `MIN_STEPS` an
    epoch at least, since a network learns little from the one batch of a small table."""
    return epochs * max(MIN_STEPS, num_rows // batch_size)
