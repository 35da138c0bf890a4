"""Progressive GAN (Karras et al. 2018) by class: the last entries of the noise vector are the
labels, and the discriminator projects on them (Miyato and Koyama 2018), as Packhaeuser et al.
(2023, sections 2.3, 3.1) have it. Wasserstein loss with gradient penalty (Gulrajani et al. 2017),
Adam at .001, as both papers.

Layers are Karras's, two convolutions a resolution. Different here: resolutions share the steps
evenly (Karras: the same number of images each; Packhaeuser: until the losses are stable), weights
are averaged over fewer steps (.99, Karras .999), and Adam's moments stay when a layer is added.

Legend: N samples, C channels, K labels, Z noise, S side, R resolution of the moment.
"""

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medcodi.baselines.base import LABELS, ImageBaseline, Player, Records, Settings, adversaries
from medcodi.baselines.layers import SLOPE

BETAS = (0.0, 0.99)
DRIFT = 1e-3  # weight of the squared scores of real images (Karras et al.)


@dataclass(frozen=True)
class PGGANSettings(Settings):
    """A resolution R has min(most, 2 base / R) channels. `latent_dim` counts noise and labels.
    A resolution fades in over `fade` of its share of the steps."""

    base: int = 512
    most: int = 64
    latent_dim: int = 64
    fade: float = 0.5
    penalty: float = 10.0
    learning_rate: float = 1e-3

    def width(self, resolution: int) -> int:
        return min(self.most, 2 * self.base // resolution)


class Scaled(nn.Module):
    """A convolution or linear layer whose normal weights are scaled when it runs (equalised
    learning rate)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 0, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__()
        shape = (outputs, inputs, kernel, kernel) if kernel else (outputs, inputs)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.kernel, self.scale = kernel, gain / math.sqrt(inputs * max(kernel, 1) ** 2)

    def forward(self, x: Tensor) -> Tensor:
        if not self.kernel:
            return F.linear(x, self.weight * self.scale, self.bias)
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.kernel // 2)


def _pixel_norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


def _active(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE)


class Generator(nn.Module):
    """Latents (N, Z) -> images at one of its resolutions."""

    def __init__(self, size: int, settings: PGGANSettings) -> None:
        super().__init__()
        resolutions = [4 * 2**i for i in range(size.bit_length() - 2)]
        widths = [settings.width(r) for r in resolutions]
        self.first = Scaled(settings.latent_dim, widths[0] * 16, gain=math.sqrt(2) / 4)
        self.first_conv = Scaled(widths[0], widths[0], 3)
        self.blocks = nn.ModuleList(
            nn.ModuleList([Scaled(a, b, 3), Scaled(b, b, 3)]) for a, b in itertools.pairwise(widths)
        )
        self.to_image = nn.ModuleList(Scaled(w, settings.channels, 1, gain=1.0) for w in widths)

    def forward(self, latents: Tensor, level: int, alpha: float) -> Tensor:
        """`level` 0 is 4 x 4; below 1, `alpha` mixes in the level before."""
        x = self.first(_pixel_norm(latents)).unflatten(1, (-1, 4, 4))
        x = _pixel_norm(_active(self.first_conv(_pixel_norm(_active(x)))))
        before = x
        for first, second in self.blocks[:level]:
            before = F.interpolate(x, scale_factor=2)
            x = _pixel_norm(_active(first(before)))
            x = _pixel_norm(_active(second(x)))
        image = self.to_image[level](x)  # N, C, R, R
        if alpha < 1 and level:
            image = torch.lerp(self.to_image[level - 1](before), image, alpha)
        return image


class Discriminator(nn.Module):
    """Images at one of its resolutions, labels (N, K) -> scores (N,)."""

    def __init__(self, size: int, num_labels: int, settings: PGGANSettings) -> None:
        super().__init__()
        resolutions = [4 * 2**i for i in range(size.bit_length() - 2)]
        widths = [settings.width(r) for r in resolutions]
        self.from_image = nn.ModuleList(Scaled(settings.channels, w, 1) for w in widths)
        self.blocks = nn.ModuleList(
            nn.ModuleList([Scaled(b, b, 3), Scaled(b, a, 3)]) for a, b in itertools.pairwise(widths)
        )
        self.last_conv = Scaled(widths[0] + 1, widths[0], 3)
        self.hidden = Scaled(widths[0] * 16, widths[0])
        self.score = Scaled(widths[0], 1, gain=1.0)
        self.projection = Scaled(num_labels, widths[0], gain=1.0) if num_labels else None

    def forward(self, images: Tensor, labels: Tensor, level: int, alpha: float) -> Tensor:
        x = _active(self.from_image[level](images))
        for place in range(level, 0, -1):
            first, second = self.blocks[place - 1]
            x = F.avg_pool2d(_active(second(_active(first(x)))), 2)
            if place == level and alpha < 1:
                coarse = _active(self.from_image[level - 1](F.avg_pool2d(images, 2)))
                x = torch.lerp(coarse, x, alpha)
        spread = (x.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        spread = spread.expand(len(x), 1, *x.shape[2:])  # how unlike the batch is
        x = _active(self.last_conv(torch.cat([x, spread], dim=1)))
        features = _active(self.hidden(x.flatten(1)))  # N, C
        score = self.score(features)[:, 0]
        if self.projection is None:
            return score
        return score + (features * self.projection(labels)).sum(dim=1)  # N


class PGGAN(ImageBaseline):
    name, title = "pggan", "PGGAN, by class"
    uses = frozenset({LABELS})
    settings_type = PGGANSettings
    paper, paper_size, paper_labels = PGGANSettings(base=8192, most=512, latent_dim=256), 256, 15
    ema_decay = 0.99
    conditional: ClassVar[bool] = True  # the labels enter the networks

    def __init__(self, size: int, num_labels: int, settings: PGGANSettings) -> None:
        super().__init__(size, num_labels, settings)
        given = num_labels if self.conditional else 0
        if settings.latent_dim <= given:
            raise ValueError(
                f"latent_dim {settings.latent_dim} leaves no noise beside {given} labels"
            )
        self.generator = Generator(size, settings)
        self.discriminator = Discriminator(size, given, settings)
        self.num_given, self.top = given, size.bit_length() - 3

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.settings.latent_dim - self.num_given,)

    def players(self) -> dict[str, Player]:
        rate = self.settings.learning_rate
        return adversaries(self.discriminator, self.generator, rate, BETAS)

    def stage(self, progress: float) -> tuple[int, float]:
        """Level and alpha of the moment; every resolution has the same share of the steps."""
        place = progress * (self.top + 1)
        level = min(int(place), self.top)
        return level, min((place - level) / self.settings.fade, 1.0) if level else 1.0

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        level, alpha = self.stage(progress)
        made = self._made(torch.randn(len(batch), *self.noise_shape), batch.labels, level, alpha)
        judged = self.discriminator(made, batch.labels, level, alpha)
        if player == "generator":
            return -judged.mean()
        real = batch.images.expand(-1, self.channels, -1, -1)
        real = F.avg_pool2d(real, 2 ** (self.top - level))
        if alpha < 1 and level:  # real images fade in, too
            real = torch.lerp(F.interpolate(F.avg_pool2d(real, 2), scale_factor=2), real, alpha)
        scores = self.discriminator(real, batch.labels, level, alpha)
        penalty = self._penalty(real, made, batch.labels, level, alpha)
        wasserstein = judged.mean() - scores.mean()
        return wasserstein + self.settings.penalty * penalty + DRIFT * scores.square().mean()

    def _penalty(
        self, real: Tensor, made: Tensor, labels: Tensor, level: int, alpha: float
    ) -> Tensor:
        """(|gradient| - 1)^2 between real and made images (Gulrajani et al. 2017, equation 3)."""
        between = torch.lerp(made.detach(), real, torch.rand(len(real), 1, 1, 1)).requires_grad_()
        scores = self.discriminator(between, labels, level, alpha)
        (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()

    def _made(self, noise: Tensor, labels: Tensor, level: int, alpha: float) -> Tensor:
        given = labels[:, : self.num_given]
        return self.generator(torch.cat([noise, given], dim=1), level, alpha)

    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        return self._made(noise, labels, self.top, 1.0)
