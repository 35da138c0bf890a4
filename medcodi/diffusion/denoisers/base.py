"""The contract of a denoiser: noisy latents, timestep, context -> prediction.

Legend: B batch, L context tokens, D context width, K tokens of the other outputs, E environment
width.
"""

from abc import ABC, abstractmethod

import torch
from torch import nn


class Denoiser(nn.Module, ABC):
    """f_theta(z_t, t, c), and in stage 3 f_theta(z_t, t, c, partners) (MedCoDi-M 2.2, 2.3).

        denoiser = MyDenoiser(latent_shape, context_dim, ...)
        prediction = denoiser(latents, timesteps, context, context_mask)          # stage 2
        denoiser.add_coupling(environment_dim)                                    # stage 3
        train(denoiser.coupling_parameters())
        prediction = denoiser(..., coupling=codes, coupling_mask=mask)

    Two promises that `tests/contracts` holds every kind to: tokens that a mask hides change
    nothing, and right after `add_coupling` the prediction is what it was, exactly.
    """

    @abstractmethod
    def add_coupling(self, environment_dim: int) -> None:
        """Add cross-modal attention to codes of width E at each level that attends to the context,
        its output projection at zero."""

    @abstractmethod
    def coupling_parameters(self) -> list[nn.Parameter]:
        """What stage 3 trains of this network: all that `add_coupling` added."""

    @abstractmethod
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
        """Predict epsilon, v or the velocity, shaped as `latents`.

        Args:
            latents: z_t (B, *latent_shape).
            timesteps: (B,) in [0, 1000).
            context: (B, L, D) tokens of the prompts; the first is their summary, or the null token.
            context_mask: (B, L) bool, True = may be attended to.
            coupling: (B, K, E) environment codes of the other outputs; None: there are none.
            coupling_mask: (B, K) bool; a row may hide all of them.
            estimate: (B, *latent_shape) of z_0 in closed form. Only for a network built with
                `estimate=True`, which then needs it.
        """
