"""Images as codes of 128 numbers that a table generator can draw: PCA and a plain autoencoder, as
the hybrid study compares them (its third is alpha-GAN, `alpha_gan.py`).

The study draws codes and table rows together by CTGAN; alone, these draw codes from a normal
distribution with the mean and covariance of the training codes. The study's layers stand in a
supplement that we do not have.
Legend: N samples, Z code, S side, P = C S S pixels.
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medcodi.baselines.base import ImageBaseline, Player, Records, Settings
from medcodi.baselines.layers import down, up


@dataclass(frozen=True)
class CodeSettings(Settings):
    """`code_dim` is Z."""

    code_dim: int = 128


@dataclass(frozen=True)
class AutoencoderSettings(CodeSettings):
    """`width` channels at half the image's side, twice as many at each coarser level."""

    width: int = 24
    learning_rate: float = 1e-3


class CodeModel(ImageBaseline):
    """Images <-> codes."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """(N, C, S, S) in [-1, 1] -> (N, Z)."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """(N, Z) -> (N, C, S, S)."""

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.settings.code_dim,)


class _NormalCodes(CodeModel):
    """Codes are drawn as mean + factor @ noise, measured on the training images."""

    mean: Tensor
    factor: Tensor

    def __init__(self, size: int, num_labels: int, settings: CodeSettings) -> None:
        super().__init__(size, num_labels, settings)
        self.register_buffer("mean", torch.zeros(settings.code_dim))
        self.register_buffer("factor", torch.eye(settings.code_dim))

    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        return self.decode(self.mean + noise @ self.factor.T)

    @torch.no_grad()
    def finish(self, records: Records) -> None:
        self.eval()
        parts = records.images.expand(-1, self.channels, -1, -1).split(256)
        codes = torch.cat([self.encode(part) for part in parts]).double()  # N, Z
        self.mean.copy_(codes.mean(dim=0))
        values, vectors = torch.linalg.eigh(codes.T.cov())  # singular for few records
        self.factor.copy_(vectors * values.clamp(min=0).sqrt())


class PCACodes(_NormalCodes):
    """Principal components. Nothing is trained step by step; components beyond the number of images
    stay zero."""

    name, title = "pca", "PCA, normal codes"
    settings_type = CodeSettings
    paper, paper_size = CodeSettings(), 256

    average: Tensor
    components: Tensor

    def __init__(self, size: int, num_labels: int, settings: CodeSettings) -> None:
        super().__init__(size, num_labels, settings)
        pixels = self.channels * size * size
        self.register_buffer("average", torch.zeros(pixels))
        self.register_buffer("components", torch.zeros(settings.code_dim, pixels))

    def players(self) -> dict[str, Player]:
        return {}

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        raise ValueError("PCA has no loss: it is computed, not trained")

    def encode(self, images: Tensor) -> Tensor:
        return (images.flatten(1) - self.average) @ self.components.T

    def decode(self, codes: Tensor) -> Tensor:
        flat = codes @ self.components + self.average  # N, P
        return flat.unflatten(1, (self.channels, self.size, self.size))

    @torch.no_grad()
    def finish(self, records: Records) -> None:
        flat = records.images.expand(-1, self.channels, -1, -1).flatten(1)  # N, P
        self.average.copy_(flat.mean(dim=0))
        found = torch.linalg.svd(flat - self.average, full_matrices=False).Vh
        count = min(self.settings.code_dim, len(found))
        self.components.zero_()
        self.components[:count] = found[:count]
        super().finish(records)

    def num_parameters(self) -> int:
        """The numbers that it stores: mean and components."""
        return self.average.numel() + self.components.numel()


class Autoencoder(_NormalCodes):
    """Convolutions, squared error."""

    name, title = "autoencoder", "autoencoder, normal codes"
    settings_type = AutoencoderSettings
    paper, paper_size = AutoencoderSettings(width=32), 256

    def __init__(self, size: int, num_labels: int, settings: AutoencoderSettings) -> None:
        super().__init__(size, num_labels, settings)
        self.encoder, self.decoder = coder(size, self.channels, settings)

    def players(self) -> dict[str, Player]:
        whole = [self.encoder, self.decoder]
        return {"autoencoder": Player(whole, self.settings.learning_rate)}

    def rate(self, player: str, progress: float) -> float:
        return 1 - progress

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        images = batch.images.expand(-1, self.channels, -1, -1)
        return F.mse_loss(self.decode(self.encode(images)), images)

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decoder(codes)


def coder(size: int, channels: int, settings: AutoencoderSettings) -> tuple[nn.Module, nn.Module]:
    """Encoder (N, C, S, S) -> (N, Z) and decoder, without batch norm: what autoencoder and
    alpha-GAN share."""
    widths = [settings.width * 2**i for i in range(size.bit_length() - 3)]
    flat = widths[-1] * 4 * 4
    encoder = nn.Sequential(
        *down(channels, widths, None, norm=False, bias=True),
        nn.Flatten(),
        nn.Linear(flat, settings.code_dim),
    )
    decoder = nn.Sequential(
        nn.Linear(settings.code_dim, flat),
        nn.ReLU(),
        nn.Unflatten(1, (widths[-1], 4, 4)),
        *up(widths[-1], [*widths[-2::-1], channels], norm=False, bias=True),
    )
    return encoder, decoder
