"""Latent diffusion by class (Packhaeuser et al. 2023): an autoencoder, and a U-Net on its latents
that attends to the labels in its bottleneck. L1 loss of the noise.

As in the paper (sections 2.2, 3.1): latents of 64 x 64 x 3 from 256 x 256 pixels, channels, lookup
table, 1,000 denoising steps, L1 loss, no guidance. Different here: the autoencoder is medcodi's
KL-VAE (L1, edges, KL) where the paper has a VQ-VAE with perceptual and adversarial loss; latents
are normalised; learning rates fall to 0 and are larger, for trainings of minutes (paper: 4.5e-6 and
1e-6); weights are averaged; several labels of an image add up.
Legend: N records, K labels, D context width, z latents.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from medcodi.autoencoders.image_kl import ImageKL
from medcodi.baselines.base import LABELS, ImageBaseline, Player, Records, Settings
from medcodi.config import DiffusionConfig
from medcodi.diffusion.denoisers.unet import ImageDenoiser
from medcodi.diffusion.objective import Epsilon
from medcodi.nn.seeding import derive_generator

AUTOENCODER, DENOISER = "autoencoder", "denoiser"
ATTACKED = (0.2, 0.5, 0.8)  # shares of the timesteps


@dataclass(frozen=True)
class ClassLDMSettings(Settings):
    """Channels of autoencoder and U-Net by level, latent channels, the autoencoder's patch (see
    `ImageKL`). `autoencoder_share` of the steps train the autoencoder, the others the U-Net."""

    autoencoder_widths: tuple[int, ...] = (32, 64)
    patch: int = 2
    latent_channels: int = 4
    unet_widths: tuple[int, ...] = (48, 96)
    layers_per_block: int = 1
    norm_num_groups: int = 8
    context_dim: int = 64
    autoencoder_share: float = 0.35
    num_inference_steps: int = 25
    autoencoder_rate: float = 2e-3
    denoiser_rate: float = 1e-3


class ClassLDM(ImageBaseline):
    name, title = "class_ldm", "latent diffusion, by class"
    uses = frozenset({LABELS})
    settings_type = ClassLDMSettings
    paper = ClassLDMSettings(
        autoencoder_widths=(32, 64, 128),
        patch=1,
        latent_channels=3,
        unet_widths=(32, 128, 256),
        layers_per_block=2,
        context_dim=512,
        num_inference_steps=1000,
        autoencoder_rate=4.5e-6,
        denoiser_rate=1e-6,
    )
    paper_size, paper_labels = 256, 15
    ema_decay = 0.99

    def __init__(self, size: int, num_labels: int, settings: ClassLDMSettings) -> None:
        super().__init__(size, num_labels, settings)
        self.autoencoder = ImageKL(
            image_size=size,
            block_out_channels=list(settings.autoencoder_widths),
            layers_per_block=1,
            latent_channels=settings.latent_channels,
            norm_num_groups=settings.norm_num_groups,
            mid_block_add_attention=False,
            kl_weight=1e-4,
            edge_weight=1.0,
            in_channels=settings.channels,
            patch=settings.patch,
        )
        self.lookup = nn.Linear(num_labels, settings.context_dim)
        self.denoiser = ImageDenoiser(
            self.autoencoder.latent_shape, settings.context_dim, _unet(settings)
        )
        self.objective = Epsilon(DiffusionConfig(prediction_type="epsilon"))
        self._latents: Tensor | None = None  # (N, *z) of the training records

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return self.autoencoder.latent_shape

    def players(self) -> dict[str, Player]:
        return {
            AUTOENCODER: Player([self.autoencoder], self.settings.autoencoder_rate),
            DENOISER: Player([self.denoiser, self.lookup], self.settings.denoiser_rate),
        }

    def turns(self, progress: float) -> list[str]:
        return [AUTOENCODER if progress < self.settings.autoencoder_share else DENOISER]

    def rate(self, player: str, progress: float) -> float:
        share = self.settings.autoencoder_share
        done = progress / share if player == AUTOENCODER else (progress - share) / (1 - share)
        return 1 - done

    def prepare(self, records: Records, progress: float) -> None:
        if progress < self.settings.autoencoder_share or self._latents is not None:
            return
        with torch.no_grad():
            self.autoencoder.eval()
            means = [self.autoencoder.posterior(part)[0] for part in records.images.split(128)]
            latents = torch.cat(means)  # N, *z
            std, mean = torch.std_mean(latents, dim=(0, 2, 3), keepdim=True)
            self.autoencoder.set_latent_statistics(mean, std)
            ae = self.autoencoder
            self._latents = (latents - ae.latent_mean) / ae.latent_std

    def finish(self, records: Records) -> None:
        self._latents = None

    def loss(self, player: str, batch: Records, progress: float) -> Tensor:
        if player == AUTOENCODER:
            done = progress / self.settings.autoencoder_share
            return self.autoencoder.losses(batch.images, done)["loss"]
        latents = self._latents[batch.rows]
        timesteps = self.objective.timesteps(torch.rand(len(latents)))
        noisy = self.objective.sample(latents, torch.randn_like(latents), timesteps)
        predicted = self._predict(noisy.latents, timesteps, batch.labels)
        return (predicted - noisy.target).abs().mean()

    @torch.no_grad()
    def denoising_losses(self, records: Records, seed: int = 0, num_noises: int = 2) -> np.ndarray:
        """Squared error of the noise (N,), mean over three noise levels and draws that are the same
        for every record: members of the training set may lie lower."""
        self.eval()
        latents = torch.cat([self.autoencoder.encode(part) for part in records.images.split(256)])
        total = torch.zeros(len(latents))
        for level in ATTACKED:
            timesteps = torch.full((len(latents),), level * self.objective.num_train_timesteps)
            for draw in range(num_noises):
                generator = derive_generator(seed, self.name, level, draw)
                noise = torch.randn(latents.shape[1:], generator=generator).expand_as(latents)
                noisy = self.objective.sample(latents, noise, timesteps.floor())
                predicted = self._predict(noisy.latents, noisy.timesteps, records.labels)
                total += (predicted - noisy.target).square().flatten(1).mean(dim=1)
        return (total / (len(ATTACKED) * num_noises)).numpy()

    def _predict(self, latents: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        context = self.lookup(labels)[:, None]  # N, 1, D
        seen = torch.ones(context.shape[:2], dtype=torch.bool)
        return self.denoiser(latents, timesteps, context, seen)

    def generate(self, noise: Tensor, labels: Tensor, sources: Tensor | None) -> Tensor:
        scheduler = self.objective.scheduler()
        scheduler.set_timesteps(self.settings.num_inference_steps)
        latents = noise
        for timestep in scheduler.timesteps:
            predicted = self._predict(latents, timestep.expand(len(latents)), labels)
            latents = scheduler.step(predicted, timestep, latents).prev_sample
        return self.autoencoder.decode(latents)


def _unet(settings: ClassLDMSettings) -> dict[str, Any]:
    """diffusers' U-Net that attends to its context in the bottleneck alone."""
    levels = len(settings.unet_widths)
    return {
        "block_out_channels": tuple(settings.unet_widths),
        "down_block_types": ("DownBlock2D",) * levels,
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ("UpBlock2D",) * levels,
        "layers_per_block": settings.layers_per_block,
        "norm_num_groups": settings.norm_num_groups,
        "attention_head_dim": 8,
    }
