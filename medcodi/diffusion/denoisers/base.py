"""The contract of a denoiser: noisy latents, timestep, context -> prediction.

Legend: B batch, L context tokens, D context width, K tokens of the other outputs, E environment
width.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class DenoiserInput:
    """What a denoiser sees.

    latents: z_t (B, *latent_shape).
    timesteps: (B,) in [0, 1000).
    context: (B, L, D) tokens of the prompts; the first is their summary, or the null token.
    context_mask: (B, L) bool, True = may be attended to.
    coupling: (B, K, E) environment codes of the other outputs; None: there are none.
    coupling_mask: (B, K) bool; a row may hide all of them.
    estimate: (B, *latent_shape), E[z_0] given prompts and partners. Only for a network built with
        `estimate=True`, which then needs it.
    """

    latents: torch.Tensor
    timesteps: torch.Tensor
    context: torch.Tensor
    context_mask: torch.Tensor
    coupling: torch.Tensor | None = None
    coupling_mask: torch.Tensor | None = None
    estimate: torch.Tensor | None = None

    def with_estimate(self, dim: int) -> torch.Tensor:
        """The latents, with the estimate behind them in `dim` where there is one."""
        if self.estimate is None:
            return self.latents
        return torch.cat([self.latents, self.estimate], dim=dim)

    def cross_attention(self) -> dict[str, torch.Tensor | None] | None:
        """`cross_attention_kwargs` of diffusers' networks, for `CrossModalProcessor`."""
        if self.coupling is None:
            return None
        return {"coupling": self.coupling, "coupling_mask": self.coupling_mask}


class Denoiser(nn.Module, ABC):
    """f_theta(z_t, t, c), and in stage 3 f_theta(z_t, t, c, partners) (MedCoDi-M 2.2, 2.3).

        denoiser = MyDenoiser(latent_shape, context_dim, ...)
        prediction = denoiser(latents, timesteps, context, context_mask)          # stage 2
        denoiser.add_coupling(environment_dim)                                    # stage 3
        train(denoiser.coupling_parameters())
        prediction = denoiser(..., coupling=codes, coupling_mask=mask)

    A kind of denoiser writes `predict`. Two promises that `tests/contracts` holds every kind to:
    tokens that a mask hides change nothing, and right after `add_coupling` the prediction is what
    it was, exactly.
    """

    @abstractmethod
    def add_coupling(self, environment_dim: int) -> None:
        """Add cross-modal attention to codes of width E at each level that attends to the context,
        its output projection at zero."""

    @abstractmethod
    def coupling_parameters(self) -> list[nn.Parameter]:
        """What stage 3 trains of this network: all that `add_coupling` added."""

    @abstractmethod
    def predict(self, given: DenoiserInput) -> torch.Tensor:
        """Epsilon, v or the velocity, shaped as `given.latents`."""

    def forward(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        context: torch.Tensor,
        context_mask: torch.Tensor,
        coupling: torch.Tensor | None = None,
        coupling_mask: torch.Tensor | None = None,
        estimate: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The prediction from the fields of DenoiserInput: what those who train and sample call."""
        return self.predict(
            DenoiserInput(
                latents, timesteps, context, context_mask, coupling, coupling_mask, estimate
            )
        )
