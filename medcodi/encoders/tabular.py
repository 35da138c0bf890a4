"""The table tower of stage 1: a small FT-Transformer (Gorishniy et al. 2021).

Legend: B rows, F columns, T tokens = F + 1, W width.
"""

import torch
from torch import Tensor, nn

from medcodi.data.table import TableSchema
from medcodi.nn.attention import TransformerBlock
from medcodi.nn.features import FeatureTokenizer


class TabularTower(nn.Module):
    """Table rows (B, F), NaN where missing -> tokens (B, F + 1, W) and their mask (B, F + 1), all
    True.

    The first token summarises the row, the others are its columns in order. A missing cell is a
    token too (its column's learned missing token): that a value was not recorded says something,
    and a row with nothing in it works.
    """

    def __init__(
        self, schema: TableSchema, width: int = 64, num_layers: int = 2, num_heads: int = 4
    ) -> None:
        super().__init__()
        cardinalities = [
            len(column.categories) if column.is_discrete else 0 for column in schema.columns
        ]
        self.features = FeatureTokenizer(cardinalities, width)
        self.summary = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.blocks = nn.ModuleList(TransformerBlock(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        values = values.to(self.summary.device)
        tokens = torch.cat(
            [self.summary.expand(len(values), -1, -1), self.features(values)], dim=1
        )  # (B, T, W)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens), tokens.new_ones(
            tokens.shape[:2], dtype=torch.bool
        )  # (B, T, W), (B, T)
