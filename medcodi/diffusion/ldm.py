"""One latent diffusion model: the fusion of its prompts and its denoiser (MedCoDi-M section 2.2)."""

import torch
from torch import nn

from medcodi.diffusion.linear_coupling import LinearCoupling
from medcodi.diffusion.linear_denoiser import LinearDenoiser
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import Objective, expand_as
from medcodi.encoders.base import PromptEncoding

MIN_SIGMA = 1e-3


class LatentDiffusion(nn.Module):
    """PromptFusion + denoiser of one output. The output itself is never among its prompts.

    With a `LinearDenoiser` the network sees y = z_t - alpha mu_S and the linear estimate of z_0 beside it, and its output
    is what the linear prediction leaves over.
    """

    def __init__(
        self, fusion: PromptFusion, denoiser: nn.Module, objective: Objective, linear: LinearDenoiser | None = None
    ) -> None:  # fmt: skip
        super().__init__()
        self.fusion, self.denoiser, self.objective, self.linear = fusion, denoiser, objective, linear
        self.linear_coupling: LinearCoupling | None = None

    def add_coupling(self, environment_dim: int, linear: LinearCoupling | None) -> None:
        """Stage 3: cross-modal attention in the denoiser, and the closed form beside the conditional mean."""
        self.denoiser.add_coupling(environment_dim)
        self.linear_coupling = linear

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, prompts: dict[str, PromptEncoding], keep: torch.Tensor,
        coupling: torch.Tensor | None = None, coupling_mask: torch.Tensor | None = None,
        weights: dict[str, float] | None = None, innovation: torch.Tensor | None = None,
    ) -> torch.Tensor:  # fmt: skip
        """`keep` (B, P) bool over `fusion.names`; `innovation` is what jointly generated partners add to the estimate of
        z_0, linearly. Returns the prediction, shaped as `latents`."""
        context, mask = self.fusion(prompts, keep, weights)
        if self.linear is None:
            return self.denoiser(latents, timesteps, context, mask, coupling, coupling_mask)
        alpha, sigma = self.objective.alpha_sigma(timesteps)
        mean = self.linear.mean(prompts, keep)
        residual = latents - expand_as(alpha, latents) * mean
        signal, noise = self.linear(residual, alpha, sigma, keep)
        estimate = mean + signal
        inputs = residual.to(context), estimate.to(context)
        prediction = self.denoiser(inputs[0], timesteps, context, mask, coupling, coupling_mask, estimate=inputs[1])
        if innovation is not None:  # z_t stays: more signal is less noise
            estimate = estimate + innovation
            noise = noise - expand_as(alpha / sigma.clamp(min=MIN_SIGMA), latents) * innovation
        return (prediction + self.objective.target(estimate, noise, timesteps)).to(latents)
