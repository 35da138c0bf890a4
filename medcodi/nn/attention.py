"""Attention through torch's scaled dot product attention, and the transformer block used by the
small networks.

Legend: B batch, L query tokens, K key tokens, D width, H heads.
"""

import torch
import torch.nn.functional as F
from torch import nn


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """softmax(Q K^T / sqrt(d)) V of (B, H, L, d), (B, H, K, d) twice; `mask` (..., K) bool, True =
    may be attended to.

    torch's fused kernel, but for training in bf16 on a CPU, where its backward pass takes three to
    five times as long as these three operations.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and torch.is_grad_enabled():
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        return scores.softmax(dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Attention(nn.Module):
    """Multi-head attention of `hidden` (B, L, D) to `context` (B, K, D_context) or to itself.

    With `sink=True` every query may also attend to one key and value of zero: a row whose mask
    hides everything then attends to nothing and adds exactly zero. `zero_init` zeroes the output
    projection (no bias).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        context_dim: int | None = None,
        sink: bool = False,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"width {dim} is not divisible by {num_heads} heads")
        self.num_heads, self.sink = num_heads, sink
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(context_dim or dim, 2 * dim, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        if zero_init:
            nn.init.zeros_(self.to_out.weight)

    def forward(
        self,
        hidden: torch.Tensor,
        context: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`mask` (B, K) bool, True = may be attended to. Returns (B, L, D)."""
        context = hidden if context is None else context
        batch = hidden.shape[0]
        split = lambda x: x.view(batch, x.shape[1], self.num_heads, -1).transpose(
            1, 2
        )  # (B, H, L, D/H)
        query = split(self.to_q(hidden))
        key, value = (split(x) for x in self.to_kv(context).chunk(2, dim=-1))
        if self.sink:
            zero = key.new_zeros(batch, self.num_heads, 1, key.shape[-1])
            key, value = torch.cat([zero, key], dim=2), torch.cat([zero, value], dim=2)
            mask = F.pad(mask, (1, 0), value=True) if mask is not None else None
        bias = mask[:, None, None, :] if mask is not None else None  # (B, 1, 1, K)
        out = attend(query, key, value, bias)
        return self.to_out(out.transpose(1, 2).flatten(2))  # (B, L, D)


class FeedForward(nn.Sequential):
    def __init__(self, dim: int, ratio: int = 4) -> None:
        super().__init__(nn.Linear(dim, ratio * dim), nn.GELU(), nn.Linear(ratio * dim, dim))


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, num_heads)
        self.feed_forward = FeedForward(dim)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        hidden = hidden + self.attention(self.norm1(hidden), mask=mask)
        return hidden + self.feed_forward(self.norm2(hidden))


class AttentionPool(nn.Module):
    """L learned queries attend to T tokens: (B, T, D) -> (B, L, D). Every row needs one unmasked
    token."""

    def __init__(self, dim: int, num_heads: int, num_queries: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, num_queries, dim))
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, num_heads)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        return self.attention(queries, self.norm(tokens), mask)  # (B, L, D)
