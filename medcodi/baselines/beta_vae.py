"""Convolutional beta-VAE (Higgins et al. 2017, equation 4), without labels. `paper`: the layers of
the study of synthetic MRI and tables, figure 5, which does not print its beta; with 1, the default,
it is a plain VAE.

Legend: N samples, Z code, S side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medcodi.autoencoders.base import kl_per_dimension
from medcodi.baselines.base import ImageBaseline, Player, Records, Settings
from medcodi.baselines.layers import down, up


@dataclass(frozen=True)
class BetaVAESettings(Settings):
    """`width` channels at half the image's side, twice as many at each coarser level; `beta` is the
    weight of the KL divergence beside the summed squared error of the pixels over twice the
    variance `pixel_variance`."""

    width: int = 24
    code_dim: int = 128
    beta: float = 1.0
    pixel_variance: float = 0.5
    learning_rate: float = 1e-3


class BetaVAE(ImageBaseline):
    name, title = "beta_vae", "beta-VAE"
    settings_type = BetaVAESettings
    paper = BetaVAESettings(channels=3, width=32)

    def __init__(self, size: int, num_labels: int, settings: BetaVAESettings) -> None:
        super().__init__(size, num_labels, settings)
        widths = [settings.width * 2**i for i in range(size.bit_length() - 3)]
        flat = widths[-1] * 4 * 4
        self.encoder = nn.Sequential(
            *down(self.channels, widths, nn.ReLU, norm=False, bias=True), nn.Flatten()
        )
        self.mean = nn.Linear(flat, settings.code_dim)
        self.logvar = nn.Linear(flat, settings.code_dim)
        self.decoder = nn.Sequential(
            nn.Linear(settings.code_dim, flat),
            nn.Unflatten(1, (widths[-1], 4, 4)),
            *up(widths[-1], [*widths[-2::-1], self.channels], norm=False, bias=True),
        )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.settings.code_dim,)

    def players(self) -> dict[str, Player]:
        whole = [self.encoder, self.mean, self.logvar, self.decoder]
        return {"autoencoder": Player(whole, self.settings.learning_rate)}

    def rate(self, player: str, progress: float) -> float:
        return 1 - progress

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        images = batch.images.expand(-1, self.channels, -1, -1)
        hidden = self.encoder(images)
        mean, logvar = self.mean(hidden), self.logvar(hidden)
        codes = mean + (logvar / 2).exp() * torch.randn_like(mean)  # N, Z
        error = (self.decoder(codes) - images).square().flatten(1).sum(dim=1)
        kl = kl_per_dimension(mean, logvar).sum(dim=1)
        loss = error / (2 * self.settings.pixel_variance) + self.settings.beta * kl
        return loss.mean() / images[0].numel()

    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        return self.decoder(noise)  # N, C, S, S
