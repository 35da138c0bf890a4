"""Prompt encoders E_m: a value batch -> a unit vector in the shared space and a few tokens.

Legend: B batch, T tower tokens, L prompt tokens (fixed per encoder, at most 32), W tower width, D
shared width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from medcodi.nn.attention import AttentionPool

MAX_PROMPT_TOKENS = 32


def activation_layer(name: str) -> type[nn.Module]:
    """Class of the activation `name`: "gelu", or "quick_gelu", which the CLIP weights of OpenAI
    were trained with."""
    from open_clip.transformer import QuickGELU  # slow to import: when needed

    layers = {"gelu": nn.GELU, "quick_gelu": QuickGELU}
    if name not in layers:
        raise ValueError(f"activation must be one of {sorted(layers)}, got {name!r}")
    return layers[name]


@dataclass
class PromptEncoding:
    """`embeds` (B, D) of unit norm, `tokens` (B, L, W), `mask` (B, L) bool with True = real token;
    `latents` (B, *latent_shape) of the value's own autoencoder, where the context uses them
    (`diffusion.prompt_latents`)."""

    embeds: torch.Tensor
    tokens: torch.Tensor
    mask: torch.Tensor
    latents: torch.Tensor | None = None

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "PromptEncoding":
        """Apply `function` to every tensor."""
        tensors = (self.embeds, self.tokens, self.mask, self.latents)
        return PromptEncoding(*(None if x is None else function(x) for x in tensors))

    def to(self, device: torch.device | str) -> "PromptEncoding":
        return self.map(lambda x: x.to(device))

    def __getitem__(self, rows: Any) -> "PromptEncoding":
        return self.map(lambda x: x[rows])

    @staticmethod
    def concat(parts: Sequence["PromptEncoding"]) -> "PromptEncoding":
        """Rows of all `parts`, which have the same tensors of the same widths."""
        first = parts[0]
        return PromptEncoding(
            torch.cat([p.embeds for p in parts]),
            torch.cat([p.tokens for p in parts]),
            torch.cat([p.mask for p in parts]),
            None if first.latents is None else torch.cat([p.latents for p in parts]),
        )


class GridPool(nn.Module):
    """Average-pool a square grid of T tokens to L = side * side: keeps where a finding is."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.side = round(num_tokens**0.5)
        if self.side**2 != num_tokens:
            raise ValueError(f"grid pooling needs a square number of tokens, got {num_tokens}")

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, W), all real -> (B, L, W), (B, L) all True."""
        grid_side = round(tokens.shape[1] ** 0.5)
        grid = tokens.transpose(1, 2).unflatten(2, (grid_side, grid_side))  # (B, W, T^.5, T^.5)
        pooled = F.adaptive_avg_pool2d(grid, self.side).flatten(2).transpose(1, 2)  # (B, L, W)
        return pooled, mask.new_ones(pooled.shape[:2])


class QueryPool(AttentionPool):
    """L learned queries (attention pooling): (B, T, W), (B, T) -> (B, L, W), (B, L) all
    True."""

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = super().forward(tokens, mask)
        return pooled, mask.new_ones(pooled.shape[:2])


class SpanPool(nn.Module):
    """A sequence of T tokens -> at most L: as it is when it has L real tokens or fewer, else the
    means of L contiguous spans. Has no parameters and keeps order and detail (which side, which
    lobe) that a learned pool must first find."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.num_tokens = num_tokens

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, W), (B, T) with real tokens first -> (B, L, W), (B, L)."""
        count = mask.sum(dim=1, keepdim=True)  # (B, 1)
        position = torch.arange(mask.shape[1], device=mask.device)[None]  # (1, T)
        span = torch.where(
            count > self.num_tokens, position * self.num_tokens // count.clamp(min=1), position
        )
        span = torch.where(mask, span, self.num_tokens)  # (B, T), padding goes to one slot more
        assigned = (span[..., None] == torch.arange(self.num_tokens, device=span.device)).to(
            tokens.dtype
        )  # (B, T, L)
        size = assigned.sum(dim=1)  # (B, L)
        return assigned.transpose(1, 2) @ tokens / size.clamp(min=1)[..., None], size > 0


class OneToken(nn.Module):
    """CLIP's pooling (Radford et al. 2021): the first token (an image's class token) or the last
    real one (a text's end)."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.last = last

    def forward(
        self, tokens: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, W), (B, T) with real tokens first -> (B, 1, W), (B, 1) all True."""
        index = (
            (mask.sum(dim=1) - 1).clamp(min=0)
            if self.last
            else torch.zeros_like(mask[:, 0], dtype=torch.long)
        )  # (B,)
        pooled = tokens[torch.arange(len(tokens), device=tokens.device), index]
        return pooled[:, None], mask.new_ones(len(tokens), 1)


class PromptEncoder(nn.Module):
    """Tower, token pooling, projection: the embedding is the projected mean of the pooled tokens,
    so that the contrastive loss trains the tokens too.

    `tower(values) -> (tokens (B, T, W), mask (B, T) bool)`; `pooling` is "grid" (images), "spans"
    (sequences), "attention" (learned queries), or CLIP's own "first" and "last": one token, as the
    tower has normalised it.
    """

    def __init__(
        self, tower: nn.Module, width: int, embed_dim: int, num_tokens: int, pooling: str
    ) -> None:
        super().__init__()
        if not 1 <= num_tokens <= MAX_PROMPT_TOKENS:
            raise ValueError(f"num_tokens must be in 1..{MAX_PROMPT_TOKENS}, got {num_tokens}")
        pools = {
            "grid": lambda: GridPool(num_tokens),
            "spans": lambda: SpanPool(num_tokens),
            "attention": lambda: QueryPool(width, 4, num_tokens),
            "first": lambda: OneToken(last=False),
            "last": lambda: OneToken(last=True),
        }
        if pooling not in pools:
            raise ValueError(f"pooling must be one of {sorted(pools)}, got {pooling!r}")
        as_clip = pooling in ("first", "last")
        if as_clip and num_tokens != 1:
            raise ValueError(f"pooling {pooling!r} keeps one token, but num_tokens is {num_tokens}")
        self.tower, self.pool = tower, pools[pooling]()
        self.num_tokens, self.token_dim, self.embed_dim = num_tokens, width, embed_dim
        self.norm = nn.Identity() if as_clip else nn.LayerNorm(width)
        self.projection = nn.Linear(width, embed_dim, bias=False)

    def forward(self, values: Any) -> PromptEncoding:
        hidden, mask = self.tower(values)  # (B, T, W), (B, T)
        pooled, real = self.pool(hidden, mask)
        tokens = self.norm(pooled)  # (B, L, W)
        weight = real.to(tokens.dtype) / real.sum(dim=1, keepdim=True).clamp(min=1)  # (B, L)
        mean = (weight[..., None] * tokens).sum(dim=1)  # (B, W)
        embeds = F.normalize(self.projection(mean).float(), dim=-1)  # (B, D)
        return PromptEncoding(embeds, tokens, real)
