"""The linear part of joint generation, in closed form: what noisy partners say about an output, in
the joint Gaussian of the latents of a study.

Given prompts S, let r_m = z_m - mu_m(S) (linear_denoiser.py) with covariance C of all r, stacked.
At its timestep an output shows y_j = z_j,t - alpha_j mu_j(S) = alpha_j r_j + sigma_j e, so that
with D = diag(alpha), N = diag(sigma^2)

    E[r_m | y] = C_m D (D C D + N)^-1 y

A denoiser knows y_m. What its partners add, E[r_m | y] - E[r_m | y_m], is added to its estimate of
z_0: 0 at pure noise, 0 again when y_m is clean, and in between what makes the two sides agree. The
denoiser itself runs as in stage 2, and the cross-modal attention (MedCoDi-M section 2.3) learns
what is left. Latents are taken in their principal components.
Legend: B batch, M modalities, O numbers of a latent, K components of all modalities together, U
distinct rows.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from medcodi.diffusion.closed_form.linear_denoiser import PENALTY, full_precision

COMPONENTS = 96  # of one modality at most
MIN_NOISE = 1e-3  # of the spread
Latents = dict[str, tuple[torch.Tensor, torch.Tensor]]


@dataclass
class Partner:
    """`residual` (B, ...) = z_t - alpha mu, `alpha` and `sigma` (B,), `present` (B,) bool."""

    residual: torch.Tensor
    alpha: torch.Tensor
    sigma: torch.Tensor
    present: torch.Tensor


class LinearCoupling(nn.Module):
    """What its partners add to the estimate of output m. Buffers, no parameters: `basis_NAME` (O,
    K_NAME), `covariance` (K, K), `spread` (K,), the mean variance of one latent number of the
    component's modality."""

    def __init__(self, output: str, latent_shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.output, self.names, self.latent_shapes = (
            output,
            list(latent_shapes),
            dict(latent_shapes),
        )
        sizes = {n: math.prod(shape) for n, shape in latent_shapes.items()}
        self.slices, start = {}, 0
        for name, size in sizes.items():
            self.slices[name] = slice(start, start + min(size, COMPONENTS))
            self.register_buffer(f"basis_{name}", torch.empty(size, min(size, COMPONENTS)))
            start += min(size, COMPONENTS)
        self.register_buffer("covariance", torch.empty(start, start))
        self.register_buffer("spread", torch.empty(start))
        for (
            name,
            value,
        ) in self.named_buffers():  # registered, then filled: `without_values` spends no memory
            value.fill_(float(name == "spread"))
        is_own = torch.zeros(start, dtype=torch.bool)
        is_own[self.slices[output]] = True
        self.register_buffer("is_own", is_own, persistent=False)

    def basis(self, name: str) -> torch.Tensor:
        return self.get_buffer(f"basis_{name}").float()

    def conditional(self, given: torch.Tensor) -> torch.Tensor:
        """Covariance (U, K, K) of what the prompts leave over; `given` (U, M) bool over `names`."""
        members = torch.cat(
            [
                given[:, j, None].expand(-1, s.stop - s.start)
                for j, s in enumerate(self.slices.values())
            ],
            1,
        )
        known = members.float()  # (U, K)
        covariance = self.covariance.float()
        masked = known[:, :, None] * covariance * known[:, None, :]
        system = masked + torch.diag_embed(torch.where(members, PENALTY * self.spread.float(), 1.0))
        cross = known[:, :, None] * covariance  # (U, K, K): rows of the prompts
        return covariance - cross.transpose(1, 2) @ _solve(system, cross)

    def forward(self, outputs: dict[str, Partner], given: torch.Tensor) -> torch.Tensor:
        """`outputs`: what is generated together, this output among it; `given` (B, M) bool: which
        modalities stand in the context of each row. Returns (B, *latent_shape) in float32."""
        rows, total = len(given), len(self.covariance)
        own = self.slices[self.output]
        alpha, sigma = (
            given.new_zeros(rows, total, dtype=torch.float32),
            given.new_ones(rows, total, dtype=torch.float32),
        )
        shown = torch.zeros_like(alpha)
        with full_precision(given.device):
            for name, partner in outputs.items():
                part = self.slices[name]
                alpha[:, part] = (partner.alpha * partner.present)[:, None]
                sigma[:, part] = torch.where(partner.present, partner.sigma, 1.0)[:, None]
                shown[:, part] = partner.residual.float().flatten(1) @ self.basis(name)
            keys, inverse = torch.cat([alpha, sigma, given.float()], dim=1), slice(None)
            if (
                not self.training
            ):  # in training no two rows have the same timesteps, and `unique` makes the host wait
                keys, inverse = torch.unique(keys, dim=0, return_inverse=True)
            a, s, who = keys.split([total, total, given.shape[1]], dim=1)  # (U, ...)
            covariance = self.conditional(who > 0)
            # A regression on partners has the ridge penalty; that on y_m, which the denoiser knows,
            # has none.
            penalty = torch.where(self.is_own, MIN_NOISE, PENALTY) * self.spread.float()
            noise = s.square() + a.square() * penalty
            together = _gain(covariance, a, noise, own)
            together[:, own] -= _gain(
                covariance[:, own, own], a[:, own], noise[:, own], slice(None)
            )
            components = torch.einsum("bkm,bk->bm", together[inverse], shown)  # (B, K_m)
            return (components @ self.basis(self.output).T).view(
                rows, *self.latent_shapes[self.output]
            )

    @torch.no_grad()
    def copy_from(self, other: "LinearCoupling") -> None:
        """The same moments for another output."""
        for name, value in other.named_buffers():
            if name != "is_own":
                self.get_buffer(name).copy_(value)

    @torch.no_grad()
    def fit(self, batches: Callable[[], Iterable[Latents]]) -> None:
        """`batches()` gives name -> (latents (B, ...), present (B,) bool) of all rows, and is
        called twice: for the principal components of each modality, then for the covariances of
        each pair over the rows that have both."""
        means = {}
        for name, (count, x, xx) in self._first_moments(batches()).items():
            means[name] = x / max(count, 1)
            covariance = xx / max(count, 1) - torch.outer(means[name], means[name])
            basis = self.get_buffer(f"basis_{name}")
            basis.copy_(torch.linalg.eigh(covariance)[1].flip(1)[:, : basis.shape[1]])
            self.spread[self.slices[name]] = covariance.diagonal().mean().clamp(min=1e-6).float()
        total = torch.zeros_like(self.covariance, dtype=torch.float64)
        counts = torch.zeros_like(total)
        for batch in batches():
            rows = len(next(iter(batch.values()))[1])
            stacked = total.new_zeros(rows, len(total))
            mask = torch.zeros_like(stacked)
            for name, (latents, present) in batch.items():
                coordinates = (latents.double().flatten(1) - means[name]) @ self.basis(
                    name
                ).double()
                stacked[:, self.slices[name]] = coordinates * present[:, None]
                mask[:, self.slices[name]] = present[:, None].double()
            total += stacked.T @ stacked
            counts += mask.T @ mask
        values, vectors = torch.linalg.eigh(total / counts.clamp(min=1))
        self.covariance.copy_(
            vectors * values.clamp(min=0) @ vectors.T
        )  # pairs with gaps may not be positive semidefinite

    def _first_moments(self, batches: Iterable[Latents]) -> dict[str, list]:
        sums: dict[str, list] = {}
        for batch in batches:
            for name, (latents, present) in batch.items():
                rows = latents[present].double().flatten(1)
                new = [len(rows), rows.sum(0), rows.T @ rows]
                sums[name] = (
                    [a + b for a, b in zip(sums[name], new, strict=True)] if name in sums else new
                )
        return sums


def _gain(
    covariance: torch.Tensor, alpha: torch.Tensor, noise: torch.Tensor, own: slice
) -> torch.Tensor:
    """((D C D + N)^-1 D C_m)', (U, K, K_m)."""
    system = alpha[:, :, None] * covariance * alpha[:, None, :] + torch.diag_embed(noise)
    return _solve(system, alpha[:, :, None] * covariance[:, :, own])


def _solve(system: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`system` is positive definite by its ridge: `torch.linalg.solve` would wait for the device to
    hear so."""
    return torch.linalg.solve_ex(system, right).result
