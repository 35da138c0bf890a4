"""One latent diffusion model: the fusion of its prompts and its denoiser (MedCoDi-M section 2.2)."""

import torch
from torch import nn

from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.encoders.base import PromptEncoding


class LatentDiffusion(nn.Module):
    """PromptFusion + denoiser of one output. The output itself is never among its prompts."""

    def __init__(self, fusion: PromptFusion, denoiser: nn.Module) -> None:
        super().__init__()
        self.fusion, self.denoiser = fusion, denoiser

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompts: dict[str, PromptEncoding], keep: torch.Tensor,
        coupling: torch.Tensor | None = None, coupling_mask: torch.Tensor | None = None,
        weights: dict[str, float] | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """`keep` (B, P) bool over `fusion.names`. Returns the prediction, shaped as `latents`."""
        context, mask = self.fusion(prompts, keep, weights)
        return self.denoiser(latents, timesteps, context, mask, coupling, coupling_mask)
