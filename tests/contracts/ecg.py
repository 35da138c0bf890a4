"""A fifth modality in one file: a toy one-lead signal, as someone who is not us would add it.

Kind `signal`: stored value float32 (1, N), value batch (B, 1, N), user value a numpy array (N,).
Legend: B batch, N samples, P patches, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from medcodi.autoencoders.base import Autoencoder, kl_per_dimension, reparametrize
from medcodi.config import DiffusionConfig, SharedSpaceConfig
from medcodi.data.storage import FieldSpec
from medcodi.diffusion.denoisers.vector import VectorDenoiser
from medcodi.encoders.base import PromptEncoder
from medcodi.modalities.base import Modality, ModalityArgs, register
from medcodi.nn.attention import TransformerBlock

SLOTS, SLOT_DIM, WIDTH, PATCH = 4, 4, 32, 8


class SignalVAE(Autoencoder):
    """(B, 1, N) <-> latents (B, 4, 4), a small MLP each way."""

    def __init__(self, length: int) -> None:
        super().__init__((SLOTS, SLOT_DIM))
        latent_dim = SLOTS * SLOT_DIM
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(length, 64), nn.GELU(), nn.Linear(64, 2 * latent_dim)
        )
        self.decoder = nn.Sequential(
            nn.Flatten(), nn.Linear(latent_dim, 64), nn.GELU(), nn.Linear(64, length)
        )

    def posterior(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, logvar = self.encoder(values).unflatten(1, (2, *self.latent_shape)).unbind(1)
        return mean, logvar  # (B, 4, 4) each

    def decode_posterior(self, latents: torch.Tensor) -> torch.Tensor:
        return self.decoder(latents)[:, None]  # (B, 1, N)

    def losses(
        self, values: torch.Tensor, progress: float, generator: torch.Generator | None = None
    ) -> dict[str, torch.Tensor]:
        mean, logvar = self.posterior(values)
        error = F.mse_loss(self.decode_posterior(reparametrize(mean, logvar, generator)), values)
        kl = kl_per_dimension(mean, logvar).mean()
        return {"loss": error + 1e-3 * kl, "error": error.detach(), "kl": kl.detach()}

    @torch.no_grad()
    def reconstruction(self, values: torch.Tensor) -> dict[str, float]:
        return {"negative_error": -float(F.mse_loss(self.decode(self.encode(values)), values))}


class SignalTower(nn.Module):
    """(B, 1, N) -> tokens (B, N / 8, W), all unmasked."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.patches = nn.Linear(PATCH, WIDTH)
        self.position = nn.Parameter(torch.randn(1, length // PATCH, WIDTH) * 0.1)
        self.block = TransformerBlock(WIDTH, num_heads=4)

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.block(
            self.patches(values[:, 0].unflatten(1, (-1, PATCH))) + self.position
        )  # (B, P, W)
        return tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool)


@dataclass
class SignalArgs(ModalityArgs):
    kind: str = "signal"
    length: int = 64
    gate: float = -1e9


@register("signal")
class SignalModality(Modality):
    Args = SignalArgs
    storage = "vector"
    figure = "negative_error"

    def field(self) -> FieldSpec:
        return FieldSpec(self.name, self.storage, (1, self.args.length))

    def collate(self, values: Sequence[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(values).astype(np.float32))  # (B, 1, N)

    def build_prompt_encoder(self, space: SharedSpaceConfig) -> PromptEncoder:
        return PromptEncoder(SignalTower(self.args.length), WIDTH, space.embed_dim, 4, "attention")

    def build_autoencoder(self) -> Autoencoder:
        return SignalVAE(self.args.length)

    def build_denoiser(
        self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig
    ) -> VectorDenoiser:
        return VectorDenoiser(
            latent_shape,
            diffusion.context_dim,
            WIDTH,
            depth=3,
            num_heads=4,
            estimate=diffusion.prompt_mean,
        )

    def from_user(self, values: Any) -> list[np.ndarray | None]:
        values = values if isinstance(values, (list, tuple)) else [values]
        for value in values:
            if value is not None and np.shape(value) != (self.args.length,):
                raise ValueError(
                    f"modality {self.name!r}: expected ({self.args.length},), got {np.shape(value)}"
                )
        return [None if v is None else np.asarray(v, np.float32)[None] for v in values]

    def show(self, stored: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [value[0] for value in stored]

    def write(self, values: Sequence[np.ndarray], folder: Path, stems: Sequence[str]) -> list[str]:
        names = [f"{stem}_{self.name}.csv" for stem in stems]
        for value, name in zip(values, names, strict=True):
            np.savetxt(folder / name, value)
        return names

    def read(self, path: Path) -> list[np.ndarray]:
        return [np.loadtxt(path)]

    def preview(self, values: np.ndarray) -> np.ndarray:
        levels = np.linspace(1.5, -1.5, 24)[:, None]
        return (np.abs(levels - values) < 0.1).astype(np.float32)


def heart_beat(rate: float, length: int = 64) -> np.ndarray:
    """A sine of `rate` beats a minute over four seconds: float32 (1, length)."""
    return np.sin(2 * np.pi * rate / 60 * np.linspace(0, 4, length)).astype(np.float32)[None]
