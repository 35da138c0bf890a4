"""One latent diffusion model: the fusion of its prompts and its denoiser (MedCoDi-M section 2.2)."""

from dataclasses import dataclass

import torch
from torch import nn

from medcodi.diffusion.closed_form.linear_coupling import LinearCoupling
from medcodi.diffusion.closed_form.linear_denoiser import LinearDenoiser
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import Objective, expand_as
from medcodi.encoders.base import PromptEncoding

MIN_SIGMA = 1e-3


@dataclass
class Condition:
    """What prompts are to one denoiser, the same at every timestep: `context` (B, L, D) with its
    `mask` (B, L), `keep` (B, P) bool over `fusion.names`, and mu_S `mean` (B, *latent_shape) where
    there is a `LinearDenoiser`."""

    context: torch.Tensor
    mask: torch.Tensor
    keep: torch.Tensor
    mean: torch.Tensor | None

    def __getitem__(self, rows: torch.Tensor | slice) -> "Condition":
        mean = None if self.mean is None else self.mean[rows]
        return Condition(self.context[rows], self.mask[rows], self.keep[rows], mean)


class LatentDiffusion(nn.Module):
    """PromptFusion + denoiser of one output. The output itself is never among its prompts.

    With a `LinearDenoiser` the network sees y = z_t - alpha mu_S and the linear estimate of z_0
    beside it, and its output is what the linear prediction leaves over.
    """

    def __init__(
        self,
        fusion: PromptFusion,
        denoiser: nn.Module,
        objective: Objective,
        linear: LinearDenoiser | None = None,
    ) -> None:
        super().__init__()
        self.fusion, self.denoiser, self.objective, self.linear = (
            fusion,
            denoiser,
            objective,
            linear,
        )
        self.linear_coupling: LinearCoupling | None = None

    def add_coupling(self, environment_dim: int, linear: LinearCoupling | None) -> None:
        """Stage 3: cross-modal attention in the denoiser, and the closed form beside the
        conditional mean."""
        self.denoiser.add_coupling(environment_dim)
        self.linear_coupling = linear

    def condition(
        self,
        prompts: dict[str, PromptEncoding],
        keep: torch.Tensor,
        weights: dict[str, float] | None = None,
    ) -> Condition:
        """`keep` (B, P) bool over `fusion.names`: which prompts each row has; `weights` are alpha
        of fusion mean."""
        context, mask = self.fusion(prompts, keep, weights)
        return Condition(
            context, mask, keep, None if self.linear is None else self.linear.mean(prompts, keep)
        )

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        condition: Condition,
        coupling: torch.Tensor | None = None,
        coupling_mask: torch.Tensor | None = None,
        innovation: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """z_t (B, *latent_shape), t (B,) -> the prediction, shaped as z_t. `innovation` is what
        jointly generated partners add to the estimate of z_0, linearly."""
        context, mask = condition.context, condition.mask
        if condition.mean is None:
            return self.denoiser(latents, timesteps, context, mask, coupling, coupling_mask)
        alpha, sigma = self.objective.alpha_sigma(timesteps)
        residual = latents - expand_as(alpha, latents) * condition.mean
        signal, noise = self.linear(residual, alpha, sigma, condition.keep)
        estimate = condition.mean + signal
        inputs = residual.to(context), estimate.to(context)
        prediction = self.denoiser(
            inputs[0], timesteps, context, mask, coupling, coupling_mask, estimate=inputs[1]
        )
        if innovation is not None:  # z_t stays: more signal is less noise
            estimate = estimate + innovation
            noise = noise - expand_as(alpha / sigma.clamp(min=MIN_SIGMA), latents) * innovation
        return (prediction + self.objective.target(estimate, noise, timesteps)).to(latents)
