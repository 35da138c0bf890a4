"""Table cells -> one embedding each (feature tokenizer of Gorishniy et al. 2021, periodic numbers
of 2022).

Legend: B rows, F columns (R numeric, S discrete), D width, P frequencies.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

MAX_MAGNITUDE = 10.0  # standard deviations; beyond it a number says no more


class FeatureTokenizer(nn.Module):
    """(B, F) with NaN where missing -> (B, F, D); a missing cell becomes its column's learned
    missing token.

    Args:
        cardinalities: number of categories of each column, 0 for a numeric (standardised) column.
        dim: D.
        num_frequencies: P, sines and cosines of a number beside the number itself.
        frequency_std: their frequencies start as N(0, frequency_std), in cycles a standard
        deviation of the column.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        dim: int,
        num_frequencies: int = 8,
        frequency_std: float = 0.5,
    ) -> None:
        super().__init__()
        if not cardinalities:
            raise ValueError("a feature tokenizer needs at least one column")
        self.cardinalities = tuple(cardinalities)
        self.numeric = [i for i, count in enumerate(self.cardinalities) if count == 0]
        self.discrete = [i for i, count in enumerate(self.cardinalities) if count > 0]
        counts = torch.tensor([self.cardinalities[i] for i in self.discrete], dtype=torch.long)
        self.register_buffer("counts", counts, persistent=False)  # (S,)
        self.register_buffer("offsets", counts.cumsum(0) - counts, persistent=False)  # (S,)
        for name, columns in (
            ("numeric_columns", self.numeric),
            ("discrete_columns", self.discrete),
        ):
            self.register_buffer(name, torch.tensor(columns, dtype=torch.long), persistent=False)
        num_features = 1 + 2 * num_frequencies
        self.frequencies = nn.Parameter(
            torch.randn(len(self.numeric), num_frequencies) * frequency_std
        )  # (R, P)
        self.number_weight = nn.Parameter(
            torch.randn(len(self.numeric), num_features, dim) / math.sqrt(num_features)
        )
        self.category_embedding = nn.Embedding(max(sum(self.cardinalities), 1), dim)
        self.column_embedding = nn.Parameter(
            torch.randn(len(self.cardinalities), dim) * 0.5
        )  # (F, D)
        self.missing_embedding = nn.Parameter(
            torch.randn(len(self.cardinalities), dim) * 0.5
        )  # (F, D)

    def forward(self, table: Tensor) -> Tensor:
        """Raises ValueError for another number of columns or a category index outside its column's
        range."""
        if table.ndim != 2 or table.shape[1] != len(self.cardinalities):
            raise ValueError(
                f"expected a table (B, {len(self.cardinalities)}), got {tuple(table.shape)}"
            )
        missing = table.isnan()  # (B, F)
        table = table.masked_fill(missing, 0.0)
        tokens = self.column_embedding.expand(len(table), -1, -1)  # (B, F, D)
        values = torch.zeros_like(tokens)
        if self.numeric:
            numbers = self._numbers(table.index_select(1, self.numeric_columns))
            values = values.index_copy(1, self.numeric_columns, numbers)
        if self.discrete:
            categories = self._categories(table.index_select(1, self.discrete_columns))
            values = values.index_copy(1, self.discrete_columns, categories)
        return tokens + torch.where(missing[..., None], self.missing_embedding, values)  # (B, F, D)

    def _numbers(self, numbers: Tensor) -> Tensor:
        numbers = numbers.to(self.frequencies).clamp(-MAX_MAGNITUDE, MAX_MAGNITUDE)[
            ..., None
        ]  # (B, R, 1)
        angles = 2 * math.pi * self.frequencies * numbers  # (B, R, P)
        features = torch.cat([numbers, angles.sin(), angles.cos()], dim=-1)  # (B, R, 1 + 2P)
        return torch.einsum("brp,rpd->brd", features, self.number_weight)  # (B, R, D)

    def _categories(self, categories: Tensor) -> Tensor:
        indices = categories.round().long()  # (B, S)
        counts = [self.cardinalities[i] for i in self.discrete]
        message = f"a category index is outside its column's range; the columns have {counts}"
        try:
            torch._assert_async(
                ((indices >= 0) & (indices < self.counts)).all(), message
            )  # a GPU stops by itself, later
        except RuntimeError:
            raise ValueError(message) from None
        return self.category_embedding(indices + self.offsets)  # (B, S, D)
