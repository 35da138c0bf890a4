"""Pix2Pix (Isola et al. 2017): one view from the other. `paper`: the layers of the study of
synthetic MRI and tables, figure 4, whose parameters leave no room for skip connections.

Loss, optimiser and first weights are those of Isola et al. (sections 3.1, 3.3). The source gets
Gaussian noise, as that study does it, so that one source has several outputs; its source is the
image itself, here it is the other view. Isola et al. have dropout for it, and normalise test images
by their own statistics.
Legend: N samples, S side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medcodi.baselines.base import SOURCES, ImageBaseline, Player, Records, Settings, adversaries
from medcodi.baselines.dcgan import BETAS
from medcodi.baselines.layers import as_made, as_real, down, initialise, up


@dataclass(frozen=True)
class Pix2PixSettings(Settings):
    """`width` channels at half the image's side, `levels` of them, twice as many at each coarser
    one. `noise` is the sd of what is added to a source in [-1, 1], `l1_weight` the weight of the
    pixels' error (Isola et al.: 100)."""

    width: int = 32
    levels: int = 3
    noise: float = 0.1
    l1_weight: float = 100.0
    learning_rate: float = 2e-4


class Pix2Pix(ImageBaseline):
    name, title = "pix2pix", "Pix2Pix"
    uses = frozenset({SOURCES})
    settings_type = Pix2PixSettings
    paper = Pix2PixSettings(channels=3, width=64)

    def __init__(self, size: int, num_labels: int, settings: Pix2PixSettings) -> None:
        super().__init__(size, num_labels, settings)
        widths = [settings.width * 2**i for i in range(settings.levels)]
        self.generator = nn.Sequential(
            *down(self.channels, widths, None, norm=True, bias=True),
            *up(widths[-1], [*widths[-2::-1], self.channels], norm=True, bias=True),
        )
        self.discriminator = nn.Sequential(  # a logit for each patch of source and image
            *down(2 * self.channels, widths, None, norm=True, bias=True),
            nn.Conv2d(widths[-1], 1, 4, 1, 1),
        )
        self.apply(initialise)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (1, self.size, self.size)

    def players(self) -> dict[str, Player]:
        rate = self.settings.learning_rate
        return adversaries(self.discriminator, self.generator, rate, BETAS)

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        sources = batch.sources.expand(-1, self.channels, -1, -1)
        images = batch.images.expand(-1, self.channels, -1, -1)
        made = self.generate(torch.randn_like(batch.sources), batch.labels, batch.sources)
        judged = self.discriminator(torch.cat([sources, made], dim=1))  # N, 1, patches
        if player == "generator":
            return as_real(judged) + self.settings.l1_weight * F.l1_loss(made, images)
        real = self.discriminator(torch.cat([sources, images], dim=1))
        return (as_real(real) + as_made(judged)) / 2

    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        noisy = sources + self.settings.noise * noise
        return self.generator(noisy.expand(-1, self.channels, -1, -1))  # N, C, S, S
