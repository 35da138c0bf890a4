"""Diffusion directly on the columns of a table, as TabDDPM (Kotelnikov et al. 2023): Gaussian on
the normal scores of numbers, multinomial on categories (Hoogeboom et al. 2021), one network.

With a_t = 1 - b_t and A_t = a_1 ... a_t (cosine schedule, Nichol & Dhariwal 2021):

    numbers:     x_t = sqrt(A_t) x_0 + sqrt(1 - A_t) e,    loss |e - e_theta(x_t, t)|^2
    categories:  q(x_t | x_0) = Cat(A_t x_0 + (1 - A_t) / K)
                 q(x_{t-1} | x_t, x_0) ~ (a_t x_t + (1 - a_t) / K) (A_{t-1} x_0 + (1 - A_{t-1}) / K)
                 loss KL(q(x_{t-1} | x_t, x_0) || q(x_{t-1} | x_t, x_theta(x_t, t)))

which at t = 1 is -log x_theta(x_0). The loss is the mean over numbers plus the mean over columns of
categories. Different from TabDDPM: no label is given apart, 100 steps, weights are averaged.
Legend: N rows, M numbers, K categories of a column, D numbers of a code, T timesteps.
"""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medcodi.baselines.loop import drawing
from medcodi.baselines.row_codes import num_steps
from medcodi.nn.embedding import TimestepEmbedding

TIMESTEPS = 100  # T
WIDTH, NUM_LAYERS = 256, 3
BATCH_SIZE = 256
RATE, WEIGHT_DECAY = 1e-3, 1e-4
EMA_DECAY = 0.999
LARGEST_SCORE = 3.5  # those of the data end at 3
SMALLEST = 1e-30  # probability


class TableDiffusion(nn.Module):
    """`num_numbers` and `sizes` say what a code is made of (`RowCodes`)."""

    def __init__(self, num_numbers: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.num_numbers, self.sizes = num_numbers, list(sizes)
        code_dim = num_numbers + sum(sizes)
        self.enter, self.leave = nn.Linear(code_dim, WIDTH), nn.Linear(WIDTH, code_dim)
        self.embed = TimestepEmbedding(WIDTH)
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(NUM_LAYERS)])
        places = (torch.arange(TIMESTEPS + 1) / TIMESTEPS + 0.008) / 1.008
        kept = (places * math.pi / 2).cos().square()
        step = (kept[1:] / kept[:-1]).clamp(min=1e-3)
        self.step = torch.cat([torch.ones(1), step])  # T + 1: a_t, with a_0 = 1
        self.kept = self.step.cumprod(dim=0)  # T + 1: A_t

    def fit(self, codes: Tensor, epochs: int, seed: int) -> None:
        """From the training rows' codes (N, D). ValueError for a loss that is not finite."""
        total = num_steps(epochs, len(codes), BATCH_SIZE)
        optimizer = torch.optim.AdamW(self.parameters(), RATE, weight_decay=WEIGHT_DECAY)
        average = copy.deepcopy(self)
        with drawing(seed, "diffusion"):
            for step in range(total):
                optimizer.param_groups[0]["lr"] = RATE * (1 - step / total)
                loss = self.loss(codes[torch.randint(len(codes), (BATCH_SIZE,))])
                if not torch.isfinite(loss):
                    raise ValueError(
                        f"diffusion: the loss is {float(loss.detach())} in step {step}"
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                decay = min(EMA_DECAY, (1 + step) / (10 + step))
                with torch.no_grad():
                    for mine, new in zip(average.parameters(), self.parameters(), strict=True):
                        mine.lerp_(new, 1 - decay)
        self.load_state_dict(average.state_dict())

    def loss(self, codes: Tensor) -> Tensor:
        """Of codes (N, D) at random timesteps."""
        t = torch.randint(1, TIMESTEPS + 1, (len(codes),))
        kept = self.kept[t][:, None]
        numbers, *known = self._parts(codes)
        noise = torch.randn_like(numbers)
        noisy = [kept.sqrt() * numbers + (1 - kept).sqrt() * noise]  # N, M
        noisy += [_draw(kept * part + (1 - kept) / part.shape[1]) for part in known]
        predicted, *logits = self(torch.cat(noisy, dim=1), t)
        loss = (predicted - noise).square().mean() if self.num_numbers else predicted.sum()
        for part, now, guess in zip(known, noisy[1:], logits, strict=True):
            true = self.posterior(now, part, t)  # N, K
            made = self.posterior(now, guess.softmax(dim=1), t)
            loss = loss + (true * (_log(true) - _log(made))).sum(dim=1).mean() / len(known)
        return loss

    def posterior(self, now: Tensor, first: Tensor, t: Tensor) -> Tensor:
        """q(x_{t-1} | x_t, x_0) (N, K) of one column: `now` is x_t, `first` x_0 or what is thought
        of it, both (N, K); `t` (N,)."""
        step, before = self.step[t][:, None], self.kept[t - 1][:, None]
        num = now.shape[1]
        weights = (step * now + (1 - step) / num) * (before * first + (1 - before) / num)
        return weights / weights.sum(dim=1, keepdim=True).clamp(min=SMALLEST)

    def forward(self, noisy: Tensor, t: Tensor) -> list[Tensor]:
        """x_t (N, D), t (N,) -> the noise of the numbers (N, M), logits of each column (N, K)."""
        hidden = self.enter(noisy) + self.embed(1000 * t / TIMESTEPS)  # N, WIDTH
        for layer in self.layers:
            hidden = hidden + layer(F.silu(hidden))
        return self._parts(self.leave(F.silu(hidden)))

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Tensor:
        """Codes (n, D)."""
        with drawing(seed, "diffusion", "sample"):
            numbers = torch.randn(n, self.num_numbers)
            known = [_draw(torch.full((n, size), 1 / size)) for size in self.sizes]
            for timestep in range(TIMESTEPS, 0, -1):
                t = torch.full((n,), timestep)
                noise, *logits = self(torch.cat([numbers, *known], dim=1), t)
                numbers = self._step_back(numbers, noise, timestep)
                guesses = [
                    self.posterior(now, guess.softmax(dim=1), t)
                    for now, guess in zip(known, logits, strict=True)
                ]
                known = [_draw(guess) for guess in guesses]
        return torch.cat([numbers, *known], dim=1)

    def _step_back(self, numbers: Tensor, noise: Tensor, t: int) -> Tensor:
        """x_{t-1} (N, M): the posterior of the x_0 that the noise leaves (Ho et al. 2020, 7)."""
        step, kept, before = self.step[t], self.kept[t], self.kept[t - 1]
        first = (numbers - (1 - kept).sqrt() * noise) / kept.sqrt()
        first = first.clamp(-LARGEST_SCORE, LARGEST_SCORE)
        mean = before.sqrt() * (1 - step) * first + step.sqrt() * (1 - before) * numbers
        spread = ((1 - step) * (1 - before) / (1 - kept)).sqrt()
        return mean / (1 - kept) + spread * torch.randn_like(numbers)

    def _parts(self, codes: Tensor) -> list[Tensor]:
        return list(codes.split([self.num_numbers, *self.sizes], dim=1))


def _draw(shares: Tensor) -> Tensor:
    """Shares (N, K) -> a one for the drawn category of each row (N, K)."""
    return F.one_hot(torch.multinomial(shares, 1)[:, 0], shares.shape[1]).float()


def _log(shares: Tensor) -> Tensor:
    return shares.clamp(min=SMALLEST).log()
