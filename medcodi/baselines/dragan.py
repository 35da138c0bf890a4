"""DRAGAN of table rows (Kodali et al. 2017): a GAN whose discriminator has a gradient of length 1
around the real rows.

    max_D  E log D(x) + E log(1 - D(G(z))) - lambda E_{x, d} (|grad D(x + d)| - 1)^2

Different from the paper, whose data are images: D's gradient is that of its logit; d is normal with
`PERTURBATION` times the standard deviation of each number of the code; a category is drawn by
Gumbel's trick, a one in the forward pass and a softmax in the backward one (Jang et al. 2017), so
that real and made rows look alike to D; layers and Adam's rates are about those of CTGAN.
Legend: N rows, D numbers of a code, Z noise.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medcodi.baselines.layers import SLOPE, as_made, as_real
from medcodi.baselines.loop import drawing
from medcodi.baselines.row_codes import num_steps

NOISE, WIDTH = 128, 256
BATCH_SIZE = 128
PENALTY = 10.0  # lambda
PERTURBATION = 0.5
TEMPERATURE = 0.5  # of the softmax
RATE, BETAS = 2e-4, (0.5, 0.9)


class DRAGAN(nn.Module):
    """`num_numbers` and `sizes` say what a code is made of (`RowCodes`)."""

    def __init__(self, num_numbers: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.num_numbers, self.sizes = num_numbers, list(sizes)
        code_dim = num_numbers + sum(sizes)
        self.generator = nn.Sequential(
            *(nn.Linear(NOISE, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()),
            *(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()),
            nn.Linear(WIDTH, code_dim),
        )
        self.discriminator = nn.Sequential(
            *(nn.Linear(code_dim, WIDTH), nn.LeakyReLU(SLOPE)),
            *(nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(SLOPE)),
            nn.Linear(WIDTH, 1),
        )

    def fit(self, codes: Tensor, epochs: int, seed: int) -> None:
        """From the training rows' codes (N, D). ValueError for a loss that is not finite."""
        spread = codes.std(dim=0)
        players = [
            torch.optim.Adam(player.parameters(), RATE, BETAS)
            for player in (self.discriminator, self.generator)
        ]
        self.train()
        with drawing(seed, "DRAGAN"):
            for step in range(num_steps(epochs, len(codes), BATCH_SIZE)):
                real = codes[torch.randint(len(codes), (BATCH_SIZE,))]
                made = self.generate(torch.randn(BATCH_SIZE, NOISE)).detach()
                judged = as_real(self.discriminator(real)) + as_made(self.discriminator(made))
                nearby = real + PERTURBATION * spread * torch.randn_like(real)
                _update(players[0], judged + PENALTY * self.penalty(nearby), step)
                made = self.generate(torch.randn(BATCH_SIZE, NOISE))
                _update(players[1], as_real(self.discriminator(made)), step)
        self.eval()

    def penalty(self, codes: Tensor) -> Tensor:
        """Mean of (|grad D| - 1)^2 at codes (N, D)."""
        codes = codes.requires_grad_(True)
        logits = self.discriminator(codes).sum()
        (gradient,) = torch.autograd.grad(logits, codes, create_graph=True)  # N, D
        return (gradient.norm(dim=1) - 1).square().mean()

    def generate(self, noise: Tensor) -> Tensor:
        """(N, Z) -> codes (N, D)."""
        numbers, *logits = self.generator(noise).split([self.num_numbers, *self.sizes], dim=1)
        drawn = [F.gumbel_softmax(part, TEMPERATURE, hard=True) for part in logits]
        return torch.cat([numbers, *drawn], dim=1)

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> Tensor:
        """Codes (n, D)."""
        with drawing(seed, "DRAGAN", "sample"):
            return self.generate(torch.randn(n, NOISE))


def _update(optimizer: torch.optim.Adam, loss: Tensor, step: int) -> None:
    if not torch.isfinite(loss):
        raise ValueError(f"DRAGAN: the loss is {float(loss.detach())} in step {step}")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
