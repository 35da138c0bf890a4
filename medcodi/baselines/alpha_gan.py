"""alpha-GAN (Rosca et al. 2017): an autoencoder whose codes and images a discriminator each judges,
without labels. The hybrid study takes its encoder and generator to code an image by 128 numbers.

As in Rosca et al. (section 3): reconstruction by L1, a discriminator of images that sees
reconstructions and samples, one of codes. Different here: where a player fools a discriminator it
lowers -log D, not -log D + log(1 - D), and the two kinds of made images weigh half each.
That study's layers stand in a supplement that we do not have; `paper` takes its size and code.
Legend: N samples, Z code, S side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medcodi.baselines.base import Player, Records
from medcodi.baselines.codes import AutoencoderSettings, CodeModel, coder
from medcodi.baselines.dcgan import BETAS
from medcodi.baselines.layers import SLOPE, as_made, as_real, down


@dataclass(frozen=True)
class AlphaGANSettings(AutoencoderSettings):
    """`l1_weight` is lambda, the weight of the reconstruction; `hidden` the width of the
    discriminator of codes."""

    l1_weight: float = 40.0
    hidden: int = 256
    learning_rate: float = 4e-4


class AlphaGAN(CodeModel):
    name, title = "alpha_gan", "alpha-GAN"
    settings_type = AlphaGANSettings
    paper, paper_size = AlphaGANSettings(width=32, hidden=750), 256

    def __init__(self, size: int, num_labels: int, settings: AlphaGANSettings) -> None:
        super().__init__(size, num_labels, settings)
        self.encoder, self.generator = coder(size, self.channels, settings)
        widths = [settings.width * 2**i for i in range(size.bit_length() - 3)]
        self.discriminator = nn.Sequential(
            *down(self.channels, widths, None, norm=False, bias=True),
            nn.Conv2d(widths[-1], 1, 4),
            nn.Flatten(),
        )
        self.code_discriminator = nn.Sequential(
            *(nn.Linear(settings.code_dim, settings.hidden), nn.LeakyReLU(SLOPE)),
            *(nn.Linear(settings.hidden, settings.hidden), nn.LeakyReLU(SLOPE)),
            nn.Linear(settings.hidden, 1),
        )

    def players(self) -> dict[str, Player]:
        rate = self.settings.learning_rate
        return {
            "coder": Player([self.encoder, self.generator], rate, BETAS),
            "discriminator": Player([self.discriminator], rate, BETAS),
            "code discriminator": Player([self.code_discriminator], rate, BETAS),
        }

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        images = batch.images.expand(-1, self.channels, -1, -1)
        prior = torch.randn(len(batch), *self.noise_shape)
        codes = self.encode(images)  # N, Z
        if player == "code discriminator":
            judged = self.code_discriminator(codes)
            return as_real(self.code_discriminator(prior)) + as_made(judged)
        again, made = self.decode(codes), self.decode(prior)
        if player == "discriminator":
            fakes = as_made(self.discriminator(again)) + as_made(self.discriminator(made))
            return as_real(self.discriminator(images)) + fakes / 2
        fooled = as_real(self.discriminator(again)) + as_real(self.discriminator(made))
        coded = as_real(self.code_discriminator(codes))
        return self.settings.l1_weight * F.l1_loss(again, images) + fooled + coded

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        return self.generator(codes)

    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        return self.decode(noise)
