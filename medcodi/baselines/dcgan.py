"""DCGAN (Radford et al. 2016), without labels: Adam at 2e-4 with beta_1 .5, first weights of sd
.02, the loss that does not saturate. `paper`: the layers of the study of synthetic MRI and tables,
figure 3.

Legend: N samples, Z noise, S side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medcodi.baselines.base import ImageBaseline, Player, Records, Settings, adversaries
from medcodi.baselines.layers import as_made, as_real, down, initialise, up

BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class DCGANSettings(Settings):
    """`width` channels at half the image's side, twice as many at each coarser level."""

    width: int = 24
    noise_dim: int = 100
    learning_rate: float = 2e-4


class DCGAN(ImageBaseline):
    name, title = "dcgan", "DCGAN"
    settings_type = DCGANSettings
    paper = DCGANSettings(channels=3, width=64)

    def __init__(self, size: int, num_labels: int, settings: DCGANSettings) -> None:
        super().__init__(size, num_labels, settings)
        levels = size.bit_length() - 3  # from 4 x 4 to the image
        widths = [settings.width * 2**i for i in range(levels)]
        first = nn.ConvTranspose2d(settings.noise_dim, widths[-1], 4, bias=False)
        self.generator = nn.Sequential(
            *(first, nn.BatchNorm2d(widths[-1]), nn.ReLU()),
            *up(widths[-1], [*widths[-2::-1], self.channels], norm=True, bias=False),
        )
        self.discriminator = nn.Sequential(
            *down(self.channels, widths, None, norm=True, bias=False),
            nn.Conv2d(widths[-1], 1, 4, bias=False),
        )
        self.apply(initialise)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.settings.noise_dim,)

    def players(self) -> dict[str, Player]:
        rate = self.settings.learning_rate
        return adversaries(self.discriminator, self.generator, rate, BETAS)

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        noise = torch.randn(len(batch), *self.noise_shape)
        made = self.generate(noise, batch.labels, None)
        if player == "generator":
            return as_real(self.discriminator(made))
        real = self.discriminator(batch.images.expand(-1, self.channels, -1, -1))
        return as_real(real) + as_made(self.discriminator(made))

    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        return self.generator(noise[:, :, None, None])  # N, C, S, S
