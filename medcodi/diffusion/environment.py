"""Environment encoders V_m (MedCoDi-M section 2.3): noisy latents of one output as tokens for the
other denoisers."""

import math

import torch
from torch import nn

from medcodi.nn.attention import TransformerBlock
from medcodi.nn.embedding import TimestepEmbedding


class EnvironmentEncoder(nn.Module):
    """Latents (B, C, H, W) or (B, N, C) and their noise level (B,) in [0, 1] -> tokens (B, K, E).

    Noise level 0 is a clean condition: then a given value conditions with its full latent.
    """

    def __init__(
        self,
        latent_shape: tuple[int, ...],
        dim: int,
        depth: int = 1,
        num_heads: int = 4,
        patch: int = 1,
    ) -> None:
        super().__init__()
        self.is_grid = len(latent_shape) == 3
        if self.is_grid:
            channels, height, width = latent_shape
            if height % patch or width % patch:
                raise ValueError(f"latent grid {height}x{width} is not divisible by patch {patch}")
            self.input: nn.Module = nn.Conv2d(channels, dim, patch, stride=patch)
            num_tokens = (height // patch) * (width // patch)
        else:
            num_tokens, channels = latent_shape
            self.input = nn.Linear(channels, dim)
        self.num_tokens = num_tokens
        self.position = nn.Parameter(0.02 * torch.randn(1, num_tokens, dim))
        self.level = TimestepEmbedding(dim)
        self.blocks = nn.ModuleList(TransformerBlock(dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        nn.init.normal_(self.input.weight, std=1 / math.sqrt(self.input.weight[0].numel()))

    def forward(self, latents: torch.Tensor, noise_level: torch.Tensor) -> torch.Tensor:
        tokens = self.input(latents)
        if self.is_grid:
            tokens = tokens.flatten(2).transpose(1, 2)  # (B, K, E)
        tokens = tokens + self.position + self.level(1000 * noise_level)[:, None]
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)
