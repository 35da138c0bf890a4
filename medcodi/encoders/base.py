"""Prompt encoders E_m: a value batch -> a unit vector in the shared space and a few tokens (DESIGN: prompt encoder).

Legend: B batch, T tower tokens, L prompt tokens (fixed per encoder, at most 32), W tower width, D shared width.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from medcodi.nn.attention import AttentionPool

MAX_PROMPT_TOKENS = 32


@dataclass
class PromptEncoding:
    """`embeds` (B, D) of unit norm, `tokens` (B, L, W), `mask` (B, L) bool with True = real token."""

    embeds: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor

    def to(self, device: torch.device | str) -> "PromptEncoding":
        return PromptEncoding(self.embeds.to(device), self.tokens.to(device), self.mask.to(device))

    def __getitem__(self, rows: Any) -> "PromptEncoding":
        return PromptEncoding(self.embeds[rows], self.tokens[rows], self.mask[rows])


class GridPool(nn.Module):
    """Average-pool a square grid of T tokens to L = side * side: keeps where a finding is."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.side = round(num_tokens**0.5)
        if self.side**2 != num_tokens:
            raise ValueError(f"grid pooling needs a square number of tokens, got {num_tokens}")

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        grid_side = round(tokens.shape[1] ** 0.5)
        grid = tokens.transpose(1, 2).unflatten(2, (grid_side, grid_side))  # (B, W, T^.5, T^.5)
        return F.adaptive_avg_pool2d(grid, self.side).flatten(2).transpose(1, 2)  # (B, L, W)


class PromptEncoder(nn.Module):
    """Tower, token pooling, projection: the embedding is the projected mean of the pooled tokens, so that the
    contrastive loss trains the tokens too.

    `tower(values) -> (tokens (B, T, W), mask (B, T) bool)`; `pooling` is "grid" (images) or "attention".
    """

    def __init__(self, tower: nn.Module, width: int, embed_dim: int, num_tokens: int, pooling: str) -> None:
        super().__init__()
        if not 1 <= num_tokens <= MAX_PROMPT_TOKENS:
            raise ValueError(f"num_tokens must be in 1..{MAX_PROMPT_TOKENS}, got {num_tokens}")
        pools = {"grid": lambda: GridPool(num_tokens), "attention": lambda: AttentionPool(width, 4, num_tokens)}
        if pooling not in pools:
            raise ValueError(f"pooling must be one of {sorted(pools)}, got {pooling!r}")
        self.tower, self.pool = tower, pools[pooling]()
        self.num_tokens, self.token_dim, self.embed_dim = num_tokens, width, embed_dim
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, embed_dim, bias=False)

    def forward(self, values: Any) -> PromptEncoding:
        hidden, mask = self.tower(values)  # (B, T, W), (B, T)
        tokens = self.norm(self.pool(hidden, mask))  # (B, L, W)
        embeds = F.normalize(self.projection(tokens.mean(dim=1)).float(), dim=-1)  # (B, D)
        return PromptEncoding(embeds, tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool))
