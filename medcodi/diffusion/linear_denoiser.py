"""The linear part of a conditional diffusion model, in closed form: the best linear denoiser of z_t given prompts S.

    mu_S = E[z_0 | S]                        ridge regression on the prompts' embeddings and latents, one for every S
    z_0 = mu_S + r,  r ~ N(0, C_S)           C_S from the residuals, in the principal components of the latents
    y = z_t - alpha mu_S = alpha r + sigma e
    E[r | y] = alpha C_S (alpha^2 C_S + sigma^2)^-1 y,      E[e | y] = sigma (alpha^2 C_S + sigma^2)^-1 y

A network that must learn from a noisy loss which part of its output a prompt decides needs many steps for a part of small
variance: the side of an effusion is one per cent of the variance of a radiograph's latents. All linear parts are known
before training, from the moments of the cache; the network then predicts what they leave over. It is a
reparametrisation: any denoiser can be written so. Wang and Vastola (2023) show that the Gaussian score is what diffusion
models learn first; CARD (Han et al. 2022) diffuses around a trained guess.

Legend: B batch, P prompts in a fixed order, d features of the prompts of a subset, O numbers of a latent, K components.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from medcodi.encoders.base import PromptEncoding

Rows = tuple[torch.Tensor, dict[str, PromptEncoding], torch.Tensor]
COMPONENTS = 96  # at most
MIN_VARIANCE = 1e-6
MAX_NUMBERS = 20_000  # of the prompts of an output, and of its latents
PENALTY = 0.1  # default, times the number of rows, for features of unit spread; see `fit`


def full_precision(device: torch.device) -> torch.autocast:
    """Closed forms are exact or nothing: no autocast inside."""
    return torch.autocast(device.type, enabled=False)


@dataclass
class Moments:
    """Sums over rows of x x', x y', y'y, x, y and 1; they add, so that one pass over the data in any order will do."""

    xx: torch.Tensor
    xy: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    yy: float = 0.0
    count: int = 0

    @classmethod
    def zeros(cls, d: int, width: int, device: torch.device) -> "Moments":
        new = lambda *shape: torch.zeros(*shape, dtype=torch.float64, device=device)  # noqa: E731
        return cls(new(d, d), new(d, width), new(d), new(width))

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        x, y = x.double(), y.double()
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.yy += float(y.square().sum())
        self.count += len(x)

    def solve(self, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Ridge weights (d, O) and bias (O,), the bias unpenalised; zero weights without rows."""
        n = max(self.count, 1)
        mean_x, mean_y = self.x / n, self.y / n
        xx = self.xx - n * torch.outer(mean_x, mean_x)
        xy = self.xy - n * torch.outer(mean_x, mean_y)
        xx.diagonal().add_(penalty * n)
        weight = torch.linalg.solve(xx, xy)
        return weight, mean_y - mean_x @ weight

    def error(self, weight: torch.Tensor, bias: torch.Tensor) -> float:
        """Mean over rows of || y - x W - b ||^2."""
        fitted = (weight * (self.xx @ weight)).sum() + 2 * (self.x @ weight) @ bias + self.count * bias @ bias
        return (self.yy - 2 * float((weight * self.xy).sum() + self.y @ bias) + float(fitted)) / max(self.count, 1)


@dataclass
class Fit:
    """The regression on one subset: rows that it was fitted to, R^2 on the validation split."""

    prompts: list[str]
    rows: int
    r2: float


class LinearDenoiser(nn.Module):
    """mu_S and C_S for every subset S of the prompts of an output, the empty one included.

    Buffers, no parameters: `weight_CODE` (d_S, O), `biases` (2^P, O), `basis` (O, K), and in it the principal axes of C_S
    `axes` (2^P, K, K), their `variances` (2^P, K), the mean variance outside the basis `rest` (2^P,). Bit j of CODE says
    whether prompt j is in S.
    """

    def __init__(
        self, prompts: dict[str, tuple[int, int]], latent_shape: tuple[int, ...], penalty: float = PENALTY
    ) -> None:
        """`prompts`: name -> numbers of its embedding and of its latents (0 when they are not in the context). `penalty` is
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
            raise ValueError(f"diffusion.linear_denoiser keeps moments of {largest} x {largest} numbers, the limit is "
                             f"{MAX_NUMBERS}: switch it off, or use smaller latents")  # fmt: skip
        size = min(width, COMPONENTS)
        zeros = {f"weight_{code}": (sum(self.widths[n] for n in self.members(code)), width) for code in self.subsets}
        zeros |= {"biases": (len(self.subsets), width), "basis": (width, size), "axes": (len(self.subsets), size, size)}
        ones = {"variances": (len(self.subsets), size), "rest": (len(self.subsets),)}
        ones |= {f"scale_{name}": (1 + bool(latents),) for name, (_, latents) in prompts.items()}
        for name, shape in (zeros | ones).items():  # registered, then filled: `without_values` spends no memory
            self.register_buffer(name, torch.empty(shape))
            self.get_buffer(name).fill_(float(name in ones))

    def members(self, code: int) -> list[str]:
        return [n for j, n in enumerate(self.names) if code >> j & 1]

    def weight(self, code: int) -> torch.Tensor:
        """(d_S, O)."""
        return self.get_buffer(f"weight_{code}")

    def features(self, name: str, encoding: PromptEncoding) -> torch.Tensor:
        """(B, d_j): the embedding and the flat latents of a prompt, each block divided by its spread."""
        scale = self.get_buffer(f"scale_{name}")
        blocks = [encoding.embeds] if len(scale) == 1 else [encoding.embeds, encoding.latents.flatten(1)]
        return torch.cat([block.float() / s.float() for block, s in zip(blocks, scale, strict=True)], dim=1)

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
                    linear = torch.cat([features[n] for n in members], dim=1) @ self.weight(code).float()
                    mean = mean + torch.where((codes == code)[:, None], linear, 0.0)
        return mean.view(-1, *self.latent_shape)

    def forward(
        self, residual: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor, keep: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """y = z_t - alpha mu_S (B, *latent_shape), alpha and sigma (B,) -> E[r | y], E[e | y], in float32."""
        codes, flat = self.codes(keep), residual.float().flatten(1)
        alpha, sigma = alpha.float()[:, None], sigma.float()[:, None]
        basis, axes, variances = self.basis.float(), self.axes[codes].float(), self.variances[codes].float()
        rest = self.rest[codes].float()[:, None]
        with full_precision(residual.device):
            inside = flat @ basis
            outside = flat - inside @ basis.T
            scores = torch.einsum("bk,bkj->bj", inside, axes) / (alpha.square() * variances + sigma.square())
            outside_scores = outside / (alpha.square() * rest + sigma.square())

            def back(along: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
                inner = torch.einsum("bj,bkj->bk", scores * along, axes) @ basis.T
                return (inner + outside_scores * across).view(-1, *self.latent_shape)

            return back(alpha * variances, alpha * rest), back(sigma, sigma)

    @torch.no_grad()
    def fit(
        self, train: Callable[[], Iterable[Rows]], validation: Callable[[], Iterable[Rows]], multi_prompt: bool = True
    ) -> list[Fit]:  # fmt: skip
        """Both give (latents (B, ...), prompts, available (B, P) bool) of all rows of a split, and may be called again;
        `validation` is only measured on. The penalty is not the one of least squared error: that one (3.0 for the
        quickstart's reports) mutes what is small in the latents, such as the side of an effusion. With
        `multi_prompt=False` only single prompts are regressed on, and several are averaged."""
        self._fit_scales(train())
        codes = [c for c in self.subsets if multi_prompt or len(self.members(c)) < 2]
        seen, held = self._moments(codes, train()), self._moments(codes, validation())
        fits = [self._fit_subset(code, seen[code], held[code]) for code in codes]
        for code in set(self.subsets) - set(codes):
            self._average_of_singles(code)
        self._fit_covariances(train)
        return fits

    def _together(self, code: int, available: torch.Tensor) -> torch.Tensor:
        """(B,) bool: rows that have all prompts of a subset."""
        return available[:, [self.names.index(n) for n in self.members(code)]].all(dim=1)

    def _fit_covariances(self, train: Callable[[], Iterable[Rows]]) -> None:
        """Principal components of the latents, then the covariance of what each mu_S leaves over."""
        width, size = self.basis.shape
        centred = self.biases.new_zeros(width, width, dtype=torch.float64)
        for latents, _, _ in train():
            flat = latents.flatten(1).double() - self.biases[0].double()
            centred += flat.T @ flat
        self.basis.copy_(torch.linalg.eigh(centred)[1].flip(1)[:, :size])
        left = centred.new_zeros(len(self.subsets), size, size)
        rest, counts = centred.new_zeros(len(self.subsets)), [0] * len(self.subsets)
        for latents, prompts, available in train():
            for code in self.subsets:
                rows = self._together(code, available)
                if not rows.any():
                    continue
                keep = torch.tensor([bool(code >> j & 1) for j in range(len(self.names))], device=rows.device)
                mean = self.mean({n: prompts[n][rows] for n in self.members(code)}, keep.expand(int(rows.sum()), -1))
                residual = (latents[rows] - mean).flatten(1).double()
                inside = residual @ self.basis.double()
                left[code] += inside.T @ inside
                rest[code] += residual.square().sum() - inside.square().sum()
                counts[code] += len(residual)
        for code, count in enumerate(counts):
            if count:
                variances, self.axes[code] = torch.linalg.eigh(left[code] / count)
                self.variances[code] = variances.clamp(min=MIN_VARIANCE)
                self.rest[code] = (rest[code] / count / max(width - size, 1)).clamp(min=MIN_VARIANCE)
            else:  # never seen together: as without a prompt
                self.variances[code], self.axes[code], self.rest[code] = self.variances[0], self.axes[0], self.rest[0]

    def _moments(self, codes: list[int], batches: Iterable[Rows]) -> dict[int, Moments]:
        width, device = self.biases.shape[1], self.biases.device
        moments = {c: Moments.zeros(len(self.weight(c)), width, device) for c in codes}
        for latents, prompts, available in batches:
            features = {n: self.features(n, e) for n, e in prompts.items()}
            for code in codes:
                members, rows = self.members(code), self._together(code, available)
                if rows.any():
                    x = torch.cat([latents.new_zeros(len(latents), 0), *(features[n] for n in members)], dim=1)
                    moments[code].add(x[rows], latents[rows].flatten(1))
        return moments

    def _fit_scales(self, batches: Iterable[Rows]) -> None:
        """Root mean variance of the embedding and of the latents of each prompt."""
        sums: dict[str, list] = {}
        for _, prompts, available in batches:
            for name, encoding in prompts.items():
                rows = available[:, self.names.index(name)].nonzero().squeeze(1)
                blocks = [b[rows].flatten(1).double() for b in (encoding.embeds, encoding.latents) if b is not None]
                new = [torch.stack([b.sum(0), b.square().sum(0), torch.full_like(b[0], len(b))]) for b in blocks if len(b)]
                sums[name] = [a + b for a, b in zip(sums[name], new, strict=True)] if name in sums and new else (
                    new or sums.get(name, []))  # fmt: skip
        for name, blocks in sums.items():
            scale = self.get_buffer(f"scale_{name}")
            for index, (x, xx, n) in enumerate(blocks[: len(scale)]):
                scale[index] = (xx / n - (x / n).square()).mean().clamp(min=1e-12).sqrt()

    def _fit_subset(self, code: int, train: Moments, held: Moments) -> Fit:
        weight, bias = train.solve(self.penalty)
        self.weight(code).copy_(weight)
        self.biases[code] = bias
        spread = held.error(torch.zeros_like(weight), train.y / max(train.count, 1))
        r2 = 1 - held.error(weight, bias) / spread if spread > 0 else math.nan
        return Fit(self.members(code), train.count, r2)

    def _average_of_singles(self, code: int) -> None:
        singles = [1 << self.names.index(n) for n in self.members(code)]
        self.weight(code).copy_(torch.cat([self.weight(single) for single in singles]) / len(singles))
        self.biases[code] = self.biases[singles].mean(dim=0)
