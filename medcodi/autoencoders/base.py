"""The contract of an autoencoder (value batch <-> latents) and the terms that the VAEs of this
package share.

Legend: B batch, latent_shape = (C, H, W) for images or (N, C) slots for reports and table rows.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Autoencoder(nn.Module, ABC):
    """value batch <-> latents of about zero mean and unit variance, deterministic in eval mode.

    A subclass sets `latent_shape` by calling `super().__init__(latent_shape)` and implements
    `posterior`, `decode_posterior`, `losses` and `reconstruction`. The loop that uses it:

        autoencoder.losses(values, progress, generator)["loss"].backward()  # training
        autoencoder.set_latent_statistics(mean, std)  # once, after training
        latents = autoencoder.encode(values)  # stage 2
        values = autoencoder.decode(latents)  # sampling
    """

    latent_mean: Tensor
    latent_std: Tensor
    all_trained: bool = True  # False: parts rest, their parameters have no gradient

    def __init__(self, latent_shape: tuple[int, ...]):
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        statistics_shape = (
            (1, latent_shape[0], 1, 1) if len(latent_shape) == 3 else (1, *latent_shape)
        )
        self.register_buffer("latent_mean", torch.zeros(statistics_shape))
        self.register_buffer("latent_std", torch.ones(statistics_shape))

    @property
    def device(self) -> torch.device:
        return self.latent_mean.device

    @abstractmethod
    def posterior(self, values: Any) -> tuple[Tensor, Tensor]:
        """Value batch -> mean and log variance of q(z | x), each (B, *latent_shape), not
        normalised."""

    @abstractmethod
    def decode_posterior(self, latents: Tensor, **kwargs: Any) -> Any:
        """Latents (B, *latent_shape) in the scale of `posterior` -> value batch."""

    @abstractmethod
    def losses(
        self, values: Any, progress: float, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Scalar losses; `loss` is what is minimised, the others are its parts, for the log.

        Args:
            values: value batch.
            progress: share of the training that is done, in [0, 1], for annealing.
            generator: CPU generator of the reparametrisation noise; the same one gives the same
                losses on any device.
        """

    @abstractmethod
    def reconstruction(self, values: Any) -> dict[str, float]:
        """Figures of decode(encode(values)) against `values`, for the gate before stage 2."""

    @torch.no_grad()
    def encode(self, values: Any) -> Tensor:
        """Value batch -> normalised posterior mean (B, *latent_shape)."""
        with evaluating(self):
            mean, _ = self.posterior(values)
        return (mean.float() - self.latent_mean) / self.latent_std

    @torch.no_grad()
    def decode(self, latents: Tensor, **kwargs: Any) -> Any:
        """Normalised latents (B, *latent_shape) -> value batch. Raises ValueError for another
        shape."""
        if tuple(latents.shape[1:]) != self.latent_shape:
            raise ValueError(
                f"{type(self).__name__}.decode expects latents (B, "
                f"{', '.join(map(str, self.latent_shape))}), "
                f"got {tuple(latents.shape)}"
            )
        latents = latents.to(self.device, self.latent_std.dtype)
        with evaluating(self):
            return self.decode_posterior(latents * self.latent_std + self.latent_mean, **kwargs)

    def set_latent_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Statistics of the UNNORMALISED posterior means over the training split.

        Args:
            mean, std: scalars, or what broadcasts to the buffers: (1, N, C) for slots, (1, C, 1, 1)
                for images. A dimension that the VAE does not use has a std near 0: it is floored at
                1e-3 of the largest, so that normalising does not blow its noise up without bound.
        """
        mean, std = torch.as_tensor(mean), torch.as_tensor(std)
        if not (
            torch.isfinite(mean).all()
            and torch.isfinite(std).all()
            and (std >= 0).all()
            and std.max() > 0
        ):
            raise ValueError(
                "latent statistics must be finite, and std non-negative and not all zero"
            )
        self.latent_mean.copy_(mean.to(self.latent_mean))
        self.latent_std.copy_(std.clamp(min=float(std.max()) * 1e-3).to(self.latent_std))


class evaluating:
    """Context: the module is in eval mode (dropout off) inside, and as it was outside."""

    def __init__(self, module: nn.Module):
        self.module = module

    def __enter__(self) -> nn.Module:
        self.training = {child: child.training for child in self.module.modules()}
        return self.module.eval()

    def __exit__(self, *exception: Any) -> None:
        for child, training in self.training.items():
            child.training = training


def reparametrize(mean: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """z = mean + std * noise (Kingma & Welling 2014), the noise drawn in float32 on the CPU, then
    moved.

    Args:
        mean, logvar: (B, ...) of q(z | x).
        generator: CPU generator.
    """
    noise = torch.randn(mean.shape, generator=generator, dtype=torch.float32).to(mean)
    return mean + (0.5 * logvar).exp() * noise


def kl_per_dimension(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL( N(mean, exp(logvar)) || N(0, 1) ) of every dimension in nats, the shape of `mean`, never
    negative."""
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar)


def kl_with_free_bits(mean: Tensor, logvar: Tensor, free_bits: float) -> Tensor:
    """Sum over dimensions of max(free_bits, batch mean of KL_i): scalar, nats a sample.

    A dimension below `free_bits` nats costs nothing more, so that the posterior does not collapse
    (Kingma et al. 2016; Optimus uses the same hinge).
    """
    kl = kl_per_dimension(mean, logvar).mean(dim=0)  # (*latent_shape)
    return kl.clamp(min=free_bits).sum()


def cyclical_beta(
    progress: float, max_beta: float, num_cycles: int = 4, zero: float = 0.5, ramp: float = 0.25
) -> float:
    """Cyclical KL weight (Fu et al. 2019; used by Optimus).

    Each cycle holds 0 for the share `zero`, rises linearly to `max_beta` in the share `ramp`, and
    stays there.

    Args:
        progress: share of the training that is done, in [0, 1]; at 1 the weight is `max_beta`.
    """
    if progress >= 1.0:
        return max_beta
    position = (progress * num_cycles) % 1.0
    if position < zero:
        return 0.0
    return max_beta * min((position - zero) / max(ramp, 1e-8), 1.0)
