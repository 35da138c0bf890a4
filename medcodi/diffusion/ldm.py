"""One latent diffusion model: the fusion of its prompts and its denoiser (MedCoDi-M section 2.2).

Legend: B batch, L context tokens, K tokens of the other outputs, D context width, E environment
width.
"""

import functools
from dataclasses import dataclass

import torch
from torch import nn

from medcodi.diffusion.closed_form import ClosedForm, Known
from medcodi.diffusion.denoisers.base import Denoiser
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import Objective
from medcodi.encoders.base import PromptEncoding


@dataclass
class Context:
    """Prompts as one denoiser sees them, the same at every timestep: `tokens` (B, L, D) with their
    `mask` (B, L) bool; `known` is what they say in closed form, where that is used."""

    tokens: torch.Tensor
    mask: torch.Tensor
    known: Known | None = None

    def __getitem__(self, rows: torch.Tensor | slice) -> "Context":
        known = None if self.known is None else self.known[rows]
        return Context(self.tokens[rows], self.mask[rows], known)


@dataclass
class Partners:
    """What the other members of a joint generation tell one output: their environment codes
    `tokens` (B, K, E); `noisy` and `clean` (B, K) bool say whose member is generated in the row,
    and whose is given. `innovation` (B, *latent_shape): what they add to the estimate of z_0 in
    closed form, where that is used."""

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

    With a `ClosedForm` the denoiser predicts what the linear prediction leaves over.
    """

    def __init__(
        self,
        fusion: PromptFusion,
        denoiser: Denoiser,
        objective: Objective,
        closed_form: ClosedForm | None = None,
    ) -> None:
        super().__init__()
        self.fusion, self.denoiser, self.objective = fusion, denoiser, objective
        self.closed_form = closed_form

    def context(
        self,
        prompts: dict[str, PromptEncoding],
        keep: torch.Tensor,
        weights: dict[str, float] | None = None,
    ) -> Context:
        """`keep` (B, P) bool over `fusion.names`: which prompts each row has; `weights` are alpha
        of fusion mean."""
        tokens, mask = self.fusion(prompts, keep, weights)
        known = None if self.closed_form is None else self.closed_form.known(prompts, keep)
        return Context(tokens, mask, known)

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        context: Context,
        partners: Partners | None = None,
    ) -> torch.Tensor:
        """z_t (B, *latent_shape), t (B,) -> the prediction, shaped as z_t."""
        denoise = functools.partial(
            self.denoiser,
            timesteps=timesteps,
            context=context.tokens,
            context_mask=context.mask,
            coupling=None if partners is None else partners.tokens,
            coupling_mask=None if partners is None else partners.mask,
        )
        if self.closed_form is None:
            return denoise(latents)
        innovation = None if partners is None else partners.innovation
        return self.closed_form(
            denoise, latents, timesteps, context.known, innovation, context.tokens.dtype
        )
