"""Denoiser of image latents as a transformer over patches (DiT, Peebles and Xie 2023), with skip
connections as in U-ViT (Bao et al. 2023): the blocks of the vector denoiser, on patches that know
their place.

A convolution tells a place by the border of the image alone, and a query that does not know where
it is cannot ask a report for its own side.
Legend: B batch, C latent channels, H, W latent grid, p side of a patch, N = H W / p^2 patches, D
context width, L context tokens.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from medcodi.diffusion.denoisers.base import Denoiser, DenoiserInput
from medcodi.diffusion.denoisers.vector import VectorDenoiser
from medcodi.nn.embedding import grid_positions


class PatchDenoiser(Denoiser):
    """Noisy latents (B, C, H, W), timesteps (B,), context (B, L, D) -> prediction (B, C, H, W)."""

    def __init__(
        self,
        latent_shape: tuple[int, int, int],
        context_dim: int,
        patch: int = 2,
        width: int = 256,
        depth: int = 7,
        num_heads: int = 4,
        summary: bool = True,
        estimate: bool = False,
    ) -> None:
        """`summary` and `estimate` as in VectorDenoiser."""
        super().__init__()
        channels, height, breadth = latent_shape
        if height % patch or breadth % patch:
            raise ValueError(f"latent grid {height}x{breadth} is not divisible by patch {patch}")
        self.patch, self.grid = patch, (height // patch, breadth // patch)
        slots = (self.grid[0] * self.grid[1], channels * patch**2)
        self.transformer = VectorDenoiser(
            slots, context_dim, width, depth, num_heads, summary, estimate
        )
        with torch.no_grad():
            self.transformer.position.copy_(grid_positions(*self.grid, width)[None])

    def add_coupling(self, environment_dim: int) -> None:
        self.transformer.add_coupling(environment_dim)

    def coupling_parameters(self) -> list[nn.Parameter]:
        return self.transformer.coupling_parameters()

    def _slots(self, latents: torch.Tensor) -> torch.Tensor:
        return F.pixel_unshuffle(latents, self.patch).flatten(2).transpose(1, 2)  # (B, N, C p^2)

    def predict(self, given: DenoiserInput) -> torch.Tensor:
        estimate = None if given.estimate is None else self._slots(given.estimate)
        slots = replace(given, latents=self._slots(given.latents), estimate=estimate)
        out = self.transformer(**vars(slots))
        return F.pixel_shuffle(out.transpose(1, 2).unflatten(2, self.grid), self.patch)
