"""One latent diffusion model: the fusion of its prompts and its denoiser (MedCoDi-M section 2.2).

Legend: B batch, L context tokens, K tokens of the other outputs, D context width, E environment
width.
"""

from dataclasses import dataclass

import torch
from torch import nn

from medcodi.diffusion.denoisers.base import Denoiser
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import Objective
from medcodi.diffusion.partner_mean import PartnerMean
from medcodi.diffusion.prompt_mean import PromptMean
from medcodi.encoders.base import PromptEncoding


@dataclass
class Context:
    """Prompts as one denoiser sees them, the same at every timestep: `tokens` (B, L, D) with their
    `mask` (B, L) bool; `mean` (B, *latent_shape) is E[z_0 | prompts] of a `PromptMean`, where one
    is used."""

    tokens: torch.Tensor
    mask: torch.Tensor
    mean: torch.Tensor | None = None

    def __getitem__(self, rows: torch.Tensor | slice) -> "Context":
        mean = None if self.mean is None else self.mean[rows]
        return Context(self.tokens[rows], self.mask[rows], mean)


@dataclass
class Partners:
    """What the other members of a joint generation tell one output: their environment codes
    `tokens` (B, K, E); `noisy` and `clean` (B, K) bool say whose member is generated in the row,
    and whose is given. `innovation` (B, *latent_shape) is what they add to E[z_0 | prompts] by a
    `PartnerMean`, where one is used."""

    tokens: torch.Tensor
    noisy: torch.Tensor
    clean: torch.Tensor
    innovation: torch.Tensor | None = None

    @property
    def mask(self) -> torch.Tensor:
        """(B, K) bool: True may be attended to."""
        return self.noisy | self.clean

    def __getitem__(self, rows: torch.Tensor) -> "Partners":
        innovation = None if self.innovation is None else self.innovation[rows]
        return Partners(self.tokens[rows], self.noisy[rows], self.clean[rows], innovation)


class LatentDiffusion(nn.Module):
    """PromptFusion + denoiser of one output. The output itself is never among its prompts.

        context = model.context(prompts, keep)                        # once
        prediction = model(z_t, timesteps, context, partners)         # at every step

    With a `PromptMean` the denoiser sees the mean beside its noisy latents; no gradient goes back
    that way, the mean is trained as a regression on z_0. In stage 3 a `PartnerMean` adds to it and
    is trained through the frozen denoiser, too.
    """

    def __init__(
        self,
        fusion: PromptFusion,
        denoiser: Denoiser,
        objective: Objective,
        prompt_mean: PromptMean | None = None,
    ) -> None:
        super().__init__()
        self.fusion, self.denoiser, self.objective = fusion, denoiser, objective
        self.prompt_mean = prompt_mean
        self.partner_mean: PartnerMean | None = None

    def add_coupling(self, environment_dim: int, partner_mean: PartnerMean | None = None) -> None:
        """What stage 3 trains: cross-modal attention in the denoiser, and a mean of partners."""
        self.denoiser.add_coupling(environment_dim)
        self.partner_mean = partner_mean

    def coupling_parameters(self) -> list[nn.Parameter]:
        """All that `add_coupling` added."""
        mean = [] if self.partner_mean is None else list(self.partner_mean.parameters())
        return self.denoiser.coupling_parameters() + mean

    def context(
        self,
        prompts: dict[str, PromptEncoding],
        keep: torch.Tensor,
        weights: dict[str, float] | None = None,
    ) -> Context:
        """`keep` (B, P) bool over `fusion.names`: which prompts each row has; `weights` are alpha
        of fusion mean."""
        tokens, mask = self.fusion(prompts, keep, weights)
        mean = None if self.prompt_mean is None else self.prompt_mean(tokens, mask)
        return Context(tokens, mask, mean)

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        context: Context,
        partners: Partners | None = None,
    ) -> torch.Tensor:
        """z_t (B, *latent_shape), t (B,) -> the prediction, shaped as z_t."""
        estimate = None if context.mean is None else context.mean.detach()
        if estimate is not None:
            if partners is not None and partners.innovation is not None:
                estimate = estimate + partners.innovation
            estimate = estimate.to(latents)
        return self.denoiser(
            latents,
            timesteps,
            context.tokens,
            context.mask,
            coupling=None if partners is None else partners.tokens,
            coupling_mask=None if partners is None else partners.mask,
            estimate=estimate,
        )
