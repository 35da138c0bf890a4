"""Embedding of a scalar in time: sinusoids and a small MLP (Ho et al. 2020, appendix B)."""

import math

import torch
from torch import nn


def sinusoidal_embedding(
    values: torch.Tensor, dim: int, max_period: float = 10_000.0
) -> torch.Tensor:
    """(B,) -> (B, dim); `values` about 0 to 1000."""
    half = dim // 2
    frequencies = torch.exp(-math.log(max_period) * torch.arange(half, device=values.device) / half)
    angles = values.float()[:, None] * frequencies[None]  # (B, dim/2)
    return torch.cat([angles.cos(), angles.sin()], dim=1)  # (B, dim)


class TimestepEmbedding(nn.Module):
    """(B,) scalar in [0, 1000] -> (B, dim)."""

    def __init__(self, dim: int, num_frequencies: int = 64) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.mlp = nn.Sequential(nn.Linear(num_frequencies, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, timesteps: torch.Tensor) -> torch.Tensor:
        embedding = sinusoidal_embedding(timesteps, self.num_frequencies)
        return self.mlp(embedding.to(self.mlp[0].weight.dtype))
