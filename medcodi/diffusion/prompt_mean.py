"""E[z_0 | prompts S] by a network: what prompts say of an output before any noise is read.

A denoiser has to find it at high noise, in few of its steps and under the noise of its target: the
side of an effusion is one percent of the variance of a radiograph's latents. A regression on z_0
sees it in every row at every step, at a fraction of the cost. The denoiser gets the result beside
its noisy latents. Every place of the output asks the context by its own position, so that the two
sides of an image differ from the first step on.
Legend: B batch, L context tokens, D context width, N places, C latent channels, H, W latent grid, p
side of a patch.
"""

import torch
import torch.nn.functional as F
from torch import nn

from medcodi.nn.attention import Attention, FeedForward
from medcodi.nn.embedding import grid_positions


class MeanBlock(nn.Module):
    """Places attend to the context and to each other: (B, N, D) -> (B, N, D)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.context_attention = Attention(dim, num_heads)
        self.self_attention = Attention(dim, num_heads)
        self.feed_forward = FeedForward(dim)

    def forward(
        self, hidden: torch.Tensor, context: torch.Tensor, context_mask: torch.Tensor
    ) -> torch.Tensor:
        hidden = hidden + self.context_attention(self.norm1(hidden), context, context_mask)
        hidden = hidden + self.self_attention(self.norm2(hidden))
        return hidden + self.feed_forward(self.norm3(hidden))


class PromptMean(nn.Module):
    """Context (B, L, D) and its mask (B, L) -> mean (B, *latent_shape), for latents (C, H, W) or
    slots (N, C): a linear map of the summary token, which is found first, plus what the places ask
    the context for. It starts at zero."""

    def __init__(
        self, latent_shape: tuple[int, ...], context_dim: int, depth: int = 2, num_heads: int = 4
    ) -> None:
        super().__init__()
        self.is_grid = len(latent_shape) == 3
        if self.is_grid:
            channels, height, width = latent_shape
            self.patch = 1 if height % 2 or width % 2 else 2
            self.grid = (height // self.patch, width // self.patch)
            places, numbers = self.grid[0] * self.grid[1], channels * self.patch**2
            queries = grid_positions(*self.grid, context_dim)
        else:
            places, numbers = latent_shape
            queries = torch.randn(places, context_dim)
        self.summary = nn.Linear(context_dim, context_dim)
        self.queries = nn.Parameter(queries[None].to(self.summary.weight.dtype))  # (1, N, D)
        self.blocks = nn.ModuleList(MeanBlock(context_dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(context_dim)
        self.output = nn.Linear(context_dim, numbers)
        self.direct = nn.Linear(context_dim, places * numbers)
        for layer in (self.output, self.direct):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, context: torch.Tensor, context_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.queries + self.summary(context[:, :1])  # (B, N, D)
        for block in self.blocks:
            hidden = block(hidden, context, context_mask)
        direct = self.direct(context[:, 0]).unflatten(1, (hidden.shape[1], -1))  # (B, N, C p^2)
        mean = direct + self.output(self.norm(hidden))
        if not self.is_grid:
            return mean
        return F.pixel_shuffle(mean.transpose(1, 2).unflatten(2, self.grid), self.patch)
