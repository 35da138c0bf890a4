"""The linear part of a conditional diffusion model, in closed form: the best linear denoiser of z_t
given prompts S.

    mu_S = E[z_0 | S]                        regression on the prompts' embeddings and latents, one
    for every S
    z_0 = mu_S + r,  r ~ N(0, C_S)           C_S from cross-validated residuals, in the principal
    components of the latents y = z_t - alpha mu_S = alpha r + sigma e
    E[r | y] = alpha C_S (alpha^2 C_S + sigma^2)^-1 y,      E[e | y] = sigma (alpha^2 C_S +
    sigma^2)^-1 y

A network that must learn from a noisy loss which part of its output a prompt decides needs many
steps for a part of small
variance: the side of an effusion is one per cent of the variance of a radiograph's latents. All
linear parts are known before training, from the moments of the cache; the network then predicts
what they leave over. It is a
reparametrisation: any denoiser can be written so. Wang and Vastola (2023) show that the Gaussian
score is what diffusion models learn first; CARD (Han et al. 2022) diffuses around a trained guess.

Legend: B batch, P prompts in a fixed order, d features of the prompts of a subset, O numbers of a
latent, K components.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from medcodi.diffusion.closed_form.regression import Agreement, Moments, shrinkage
from medcodi.encoders.base import PromptEncoding

Rows = tuple[torch.Tensor, dict[str, PromptEncoding], torch.Tensor]
COMPONENTS = 96  # at most
MIN_VARIANCE = 1e-6
MAX_NUMBERS = 20_000  # of the prompts of an output, and of its latents
PENALTY = 0.1  # default, times the number of rows, for features of unit spread
FOLDS = 5  # contiguous parts of the training split, so that a patient's studies stay together


def full_precision(device: torch.device) -> torch.autocast:
    """Closed forms are exact or nothing: no autocast inside."""
    return torch.autocast(device.type, enabled=False)


@dataclass
class Fit:
    """The regression on one subset: rows that it was fitted to, R^2 on the validation split."""

    prompts: list[str]
    rows: int
    r2: float


class LinearDenoiser(nn.Module):
    """mu_S and C_S for every subset S of the prompts of an output, the empty one included.

    Buffers, no parameters: `weight_CODE` (d_S, O), `biases` (2^P, O), `basis` (O, K), and in it the
    principal axes of C_S `axes` (2^P, K, K), their `variances` (2^P, K), the mean variance outside
    the basis `rest` (2^P,). Bit j of CODE says whether prompt j is in S.
    """

    def __init__(
        self,
        prompts: dict[str, tuple[int, int]],
        latent_shape: tuple[int, ...],
        penalty: float = PENALTY,
    ) -> None:
        """`prompts`: name -> numbers of its embedding and of its latents (0 when they are not in
        the context). `penalty` is
        that of the ridge regressions: more of it remembers less of single training rows."""
        super().__init__()
        if not penalty > 0:
            raise ValueError(f"the penalty of the linear denoiser must be above 0, got {penalty}")
        self.names, self.latent_shape, self.penalty = list(prompts), tuple(latent_shape), penalty
        self.widths = {n: sum(parts) for n, parts in prompts.items()}
        self.subsets = list(range(2 ** len(prompts)))
        width = math.prod(latent_shape)
        largest = max(width, sum(self.widths.values()))
        if largest > MAX_NUMBERS:
            raise ValueError(
                f"diffusion.linear_denoiser keeps moments of {largest} x {largest} numbers, the "
                "limit is "
                f"{MAX_NUMBERS}: switch it off, or use smaller latents"
            )
        size = min(width, COMPONENTS)
        zeros = {
            f"weight_{code}": (sum(self.widths[n] for n in self.members(code)), width)
            for code in self.subsets
        }
        zeros |= {
            "biases": (len(self.subsets), width),
            "basis": (width, size),
            "axes": (len(self.subsets), size, size),
        }
        ones = {"variances": (len(self.subsets), size), "rest": (len(self.subsets),)}
        ones |= {f"scale_{name}": (1 + bool(latents),) for name, (_, latents) in prompts.items()}
        for name, shape in (
            zeros | ones
        ).items():  # registered, then filled: `without_values` spends no memory
            self.register_buffer(name, torch.empty(shape))
            self.get_buffer(name).fill_(float(name in ones))

    def members(self, code: int) -> list[str]:
        return [n for j, n in enumerate(self.names) if code >> j & 1]

    def weight(self, code: int) -> torch.Tensor:
        """(d_S, O)."""
        return self.get_buffer(f"weight_{code}")

    def features(self, name: str, encoding: PromptEncoding) -> torch.Tensor:
        """(B, d_j): the embedding and the flat latents of a prompt, each block divided by its
        spread."""
        scale = self.get_buffer(f"scale_{name}")
        blocks = (
            [encoding.embeds] if len(scale) == 1 else [encoding.embeds, encoding.latents.flatten(1)]
        )
        return torch.cat(
            [block.float() / s.float() for block, s in zip(blocks, scale, strict=True)], dim=1
        )

    def codes(self, keep: torch.Tensor) -> torch.Tensor:
        """(B, P) bool -> (B,) number of the subset."""
        return (keep.long() << torch.arange(len(self.names), device=keep.device)).sum(dim=1)

    def mean(self, prompts: dict[str, PromptEncoding], keep: torch.Tensor) -> torch.Tensor:
        """mu_S (B, *latent_shape) in float32; `keep` (B, P) bool over `names`."""
        codes = self.codes(keep)
        with full_precision(keep.device):
            mean = self.biases[codes].float()
            features = {n: self.features(n, e) for n, e in prompts.items()}
            for code in self.subsets[1:]:
                members = self.members(code)
                if all(n in features for n in members):
                    linear = (
                        torch.cat([features[n] for n in members], dim=1) @ self.weight(code).float()
                    )
                    mean = mean + torch.where((codes == code)[:, None], linear, 0.0)
        return mean.view(-1, *self.latent_shape)

    def forward(
        self, residual: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor, keep: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """y = z_t - alpha mu_S (B, *latent_shape), alpha and sigma (B,) -> E[r | y], E[e | y], in
        float32."""
        codes, flat = self.codes(keep), residual.float().flatten(1)
        alpha, sigma = alpha.float()[:, None], sigma.float()[:, None]
        basis, axes, variances = (
            self.basis.float(),
            self.axes[codes].float(),
            self.variances[codes].float(),
        )
        rest = self.rest[codes].float()[:, None]
        with full_precision(residual.device):
            inside = flat @ basis
            outside = flat - inside @ basis.T
            scores = torch.einsum("bk,bkj->bj", inside, axes) / (
                alpha.square() * variances + sigma.square()
            )
            outside_scores = outside / (alpha.square() * rest + sigma.square())

            def back(along: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
                inner = torch.einsum("bj,bkj->bk", scores * along, axes) @ basis.T
                return (inner + outside_scores * across).view(-1, *self.latent_shape)

            return back(alpha * variances, alpha * rest), back(sigma, sigma)

    @torch.no_grad()
    def fit(
        self,
        train: Callable[[], Iterable[Rows]],
        validation: Callable[[], Iterable[Rows]],
        multi_prompt: bool = True,
    ) -> list[Fit]:
        """Both give (latents (B, ...), prompts, available (B, P) bool) of all rows of a split, and
        may be called again; `validation` is only measured on. Each regression is a ridge
        regression, then shrunk along the canonical directions of the latents by what
        cross-validation finds of them (`regression.shrinkage`): the penalty of least squared error
        alone would mute what is small in the latents, such as the side of an effusion. With
        `multi_prompt=False` only single prompts are regressed on, and several are averaged."""
        self._fit_scales(train())
        (latents,) = self._moments(0, train())
        self.basis.copy_(
            torch.linalg.eigh(latents.covariance())[1].flip(1)[:, : self.basis.shape[1]]
        )
        cuts = [latents.count * fold // FOLDS for fold in range(1, FOLDS)]
        codes = [c for c in self.subsets if multi_prompt or len(self.members(c)) < 2]
        fits = [self._fit_subset(code, train, validation, cuts) for code in codes]
        for code in set(self.subsets) - set(codes):
            self._average_of_singles(code, *self._moments(code, train()))
        return fits

    def _fit_subset(
        self,
        code: int,
        train: Callable[[], Iterable[Rows]],
        validation: Callable[[], Iterable[Rows]],
        cuts: list[int],
    ) -> Fit:
        parts, (held,) = self._moments(code, train(), cuts), self._moments(code, validation())
        seen = sum(parts[1:], parts[0])
        agreement = Agreement.zeros(
            seen.y
        )  # of each part of the training rows with the regression on the other parts
        for part in parts:
            agreement += Agreement.of(part, *(seen - part).ridge(self.penalty), seen.mean_y)
        shrink = shrinkage(agreement) if code else None
        weight, bias = seen.ridge(self.penalty, shrink)
        self.weight(code).copy_(weight)
        self.biases[code] = bias
        self._keep_covariance(code, agreement.residual(shrink))
        spread = held.error(torch.zeros_like(weight), seen.mean_y)
        r2 = 1 - held.error(weight, bias) / spread if spread > 0 else math.nan
        return Fit(self.members(code), seen.count, r2)

    def _together(self, code: int, available: torch.Tensor) -> torch.Tensor:
        """(B,) bool: rows that have all prompts of a subset."""
        return available[:, [self.names.index(n) for n in self.members(code)]].all(dim=1)

    def _moments(
        self, code: int, batches: Iterable[Rows], cuts: Sequence[int] = ()
    ) -> list[Moments]:
        """Of the rows that have all prompts of a subset, one for each part that the row numbers in
        `cuts` begin or end."""
        members, start, edges = (
            self.members(code),
            0,
            torch.tensor(cuts, dtype=torch.long, device=self.biases.device),
        )
        moments = [
            Moments.zeros(len(self.weight(code)), self.biases.shape[1], edges.device)
            for _ in range(len(cuts) + 1)
        ]
        for latents, prompts, available in batches:
            rows = self._together(code, available).nonzero()[:, 0]
            part = torch.bucketize(start + rows, edges, right=True)
            start += len(latents)
            y = latents[rows].flatten(1)
            x = torch.cat(
                [y.new_zeros(len(y), 0), *(self.features(n, prompts[n][rows]) for n in members)],
                dim=1,
            )
            for index in part.unique().tolist():
                moments[index].add(x[part == index], y[part == index])
        return moments

    def _fit_scales(self, batches: Iterable[Rows]) -> None:
        """Root mean variance of the embedding and of the latents of each prompt."""
        sums: dict[str, list] = {}
        for _, prompts, available in batches:
            for name, encoding in prompts.items():
                rows = available[:, self.names.index(name)].nonzero().squeeze(1)
                blocks = [
                    b[rows].flatten(1).double()
                    for b in (encoding.embeds, encoding.latents)
                    if b is not None
                ]
                new = [
                    torch.stack([b.sum(0), b.square().sum(0), torch.full_like(b[0], len(b))])
                    for b in blocks
                    if len(b)
                ]
                sums[name] = (
                    [a + b for a, b in zip(sums[name], new, strict=True)]
                    if name in sums and new
                    else (new or sums.get(name, []))
                )
        for name, blocks in sums.items():
            scale = self.get_buffer(f"scale_{name}")
            for index, (x, xx, n) in enumerate(blocks[: len(scale)]):
                scale[index] = (xx / n - (x / n).square()).mean().clamp(min=1e-12).sqrt()

    def _keep_covariance(self, code: int, residual: torch.Tensor | None) -> None:
        """`residual` (O, O), the covariance of what mu_S leaves over; None (never seen together):
        as without a prompt."""
        if residual is None:
            self.variances[code], self.axes[code], self.rest[code] = (
                self.variances[0],
                self.axes[0],
                self.rest[0],
            )
            return
        basis = self.basis.double()
        inside = basis.T @ residual @ basis
        variances, self.axes[code] = torch.linalg.eigh(inside)
        self.variances[code] = variances.clamp(min=MIN_VARIANCE)
        outside = (residual.trace() - inside.trace()) / max(len(residual) - len(inside), 1)
        self.rest[code] = outside.clamp(min=MIN_VARIANCE)

    def _average_of_singles(self, code: int, seen: Moments) -> None:
        singles = [1 << self.names.index(n) for n in self.members(code)]
        self.weight(code).copy_(
            torch.cat([self.weight(single) for single in singles]) / len(singles)
        )
        self.biases[code] = self.biases[singles].mean(dim=0)
        fitted = self.weight(code).double(), self.biases[code].double()
        self._keep_covariance(code, Agreement.of(seen, *fitted, seen.mean_y).residual())
