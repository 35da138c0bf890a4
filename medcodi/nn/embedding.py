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


def grid_positions(height: int, width: int, dim: int) -> torch.Tensor:
    """Sines and cosines of row and column (Vaswani et al. 2017, in two dimensions): (H W, dim),
    `dim` a multiple of 4. The slowest of dim / 4 frequencies turns once in about 600 places."""
    if dim % 4:
        raise ValueError(f"positions on a grid need a width that is a multiple of 4, got {dim}")
    places = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frequencies = 100.0 ** -(torch.arange(dim // 4) / (dim // 4))
    angles = [axis.flatten()[:, None].float() * frequencies for axis in places]  # (H W, dim/4) each
    return torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1)
