"""Kind `image`: one-channel radiographs (frontal and lateral are two names of it)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image

from medcodi.autoencoders.adversary import PatchAdversary
from medcodi.autoencoders.base import Autoencoder
from medcodi.autoencoders.image_kl import ImageKL
from medcodi.config import DiffusionConfig, SharedSpaceConfig
from medcodi.data.user_images import read_picture, to_greys
from medcodi.diffusion.denoisers.base import Denoiser
from medcodi.diffusion.denoisers.patches import PatchDenoiser
from medcodi.diffusion.denoisers.unet import ImageDenoiser
from medcodi.diffusion.environment import EnvironmentEncoder
from medcodi.encoders.base import PromptEncoder
from medcodi.encoders.image import ImageTower
from medcodi.modalities.base import Modality, ModalityArgs, register
from medcodi.modalities.image_parts import ImageParts

VIEWS = {
    "frontal": "PA",
    "lateral": "LL",
}  # DICOM View Position (0018,5101) where the recipe does not say it


@dataclass
class ImageEncoderArgs:
    """open_clip vision transformer. `resolution` is the side it sees (the image's own by default),
    `pixels` "unit" or "clip" and `activation` "gelu" or "quick_gelu": what pretrained CLIP weights
    expect. `pooling: first` is CLIP's own. `stem`: channels of convolutions that stand in the place
    of the patch embedding; with [32, 64] patches have 8 pixels."""

    patch_size: int = 8
    width: int = 96
    layers: int = 3
    heads: int = 4
    num_tokens: int = 16
    pooling: str = "grid"
    resolution: int | None = None
    pixels: str = "unit"
    activation: str = "gelu"
    stem: list[int] = field(default_factory=list)


@dataclass
class ImageAutoencoderArgs:
    """diffusers AutoencoderKL. Without `train_encoder` the decoder alone trains on: latents stay
    what they are (their mean and spread are measured on the data at hand, as always), and so do the
    denoisers that were trained on them. With `adversarial_weight` above 0 a discriminator trains
    beside the autoencoder, which makes textures as sharp as real ones; .01 is what the phantom's
    decoder had."""

    block_out_channels: list[int] = field(default_factory=lambda: [16, 32, 64, 64])
    layers_per_block: int = 1
    latent_channels: int = 4
    norm_num_groups: int = 16
    mid_block_add_attention: bool = False
    kl_weight: float = 1e-4
    edge_weight: float = 1.0
    in_channels: int = 1
    patch: int = 1  # above 1 the network sees patch x patch pixels as channels: space to depth
    train_encoder: bool = True
    adversarial_weight: float = 0.0


@dataclass
class PatchDenoiserArgs:
    """Transformer over patches of patch x patch latents."""

    patch: int = 2
    width: int = 256
    depth: int = 7
    num_heads: int = 4
    summary: bool = True


@dataclass
class ImageDenoiserArgs:
    """diffusers UNet2DConditionModel; with `transformer` a transformer over patches in its place.
    `attention`: whether each level has cross-attention."""

    block_out_channels: list[int] = field(default_factory=lambda: [64, 128])
    attention: list[bool] = field(default_factory=lambda: [True, True])
    layers_per_block: int = 1
    attention_head_dim: int = 4
    norm_num_groups: int = 16
    summary: bool = False
    transformer: PatchDenoiserArgs | None = None


@dataclass
class ImageArgs(ModalityArgs):
    PARTS: ClassVar[dict[str, str]] = ModalityArgs.PARTS | {
        "environment_patch": "environment",
        "view": "",
    }

    kind: str = "image"
    size: int = 64
    gate: float = 22.0  # PSNR in dB
    encoder: ImageEncoderArgs = field(default_factory=ImageEncoderArgs)
    autoencoder: ImageAutoencoderArgs = field(default_factory=ImageAutoencoderArgs)
    denoiser: ImageDenoiserArgs = field(default_factory=ImageDenoiserArgs)
    environment_patch: int = 1
    view: str = ""  # DICOM View Position; default by name, see VIEWS


@register("image")
class ImageModality(Modality):
    """Stored value: float32 (H, W) in [0, 1]. Value batch: (B, 1, size, size) in [-1, 1]. User
    value: PIL image."""

    Args = ImageArgs
    storage = "image"
    figure = "psnr"

    @property
    def view(self) -> str:
        return self.args.view or VIEWS.get(self.name, "")

    def collate(self, values: Sequence[np.ndarray]) -> torch.Tensor:
        size = self.args.size
        for value in values:
            if value.shape != (size, size):
                raise ValueError(
                    f"modality {self.name!r}: expected an image of {size} x {size}, got "
                    f"{value.shape}; "
                    f"prepare the data at this size or set modalities.{self.name}.size"
                )
        stacked = torch.from_numpy(np.stack(values).astype(np.float32))
        if not torch.isfinite(stacked).all():
            raise ValueError(f"modality {self.name!r}: an image holds NaN or infinite pixels")
        return stacked[:, None] * 2 - 1  # (B, 1, S, S)

    def build_prompt_encoder(self, space: SharedSpaceConfig) -> PromptEncoder:
        a = self.args.encoder
        tower = ImageTower(
            self.args.size,
            a.patch_size,
            a.width,
            a.layers,
            a.heads,
            a.resolution,
            a.pixels,
            a.activation,
            class_token=a.pooling == "first",
            stem=a.stem,
        )
        return PromptEncoder(tower, a.width, space.embed_dim, a.num_tokens, a.pooling)

    def build_autoencoder(self) -> Autoencoder:
        return ImageKL(self.args.size, **vars(self.args.autoencoder))

    def build_adversary(self) -> PatchAdversary | None:
        return PatchAdversary() if self.args.autoencoder.adversarial_weight > 0 else None

    def build_denoiser(self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig) -> Denoiser:
        a = self.args.denoiser
        if a.transformer is not None:
            if a != ImageDenoiserArgs(transformer=a.transformer):
                raise ValueError(
                    f"modalities.{self.name}.denoiser: with transformer the sizes stand there, "
                    "leave those of the U-Net out"
                )
            sizes = vars(a.transformer)
            return PatchDenoiser(
                latent_shape, diffusion.context_dim, **sizes, estimate=diffusion.prompt_mean
            )
        if len(a.attention) != len(a.block_out_channels):
            raise ValueError(
                f"modalities.{self.name}.denoiser: attention has {len(a.attention)} entries, "
                f"block_out_channels has {len(a.block_out_channels)}"
            )
        down = ["CrossAttnDownBlock2D" if on else "DownBlock2D" for on in a.attention]
        up = ["CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(a.attention)]
        unet = {
            "block_out_channels": tuple(a.block_out_channels),
            "down_block_types": tuple(down),
            "up_block_types": tuple(up),
            "layers_per_block": a.layers_per_block,
            "attention_head_dim": a.attention_head_dim,
            "norm_num_groups": a.norm_num_groups,
        }
        return ImageDenoiser(
            latent_shape, diffusion.context_dim, unet, a.summary, diffusion.prompt_mean
        )

    def build_environment_encoder(
        self, latent_shape: tuple[int, ...], dim: int
    ) -> EnvironmentEncoder:
        depth, patch = self.args.environment_depth, self.args.environment_patch
        return EnvironmentEncoder(latent_shape, dim, depth, patch=patch)

    @property
    def parts(self) -> ImageParts:
        return ImageParts(self)

    def from_user(self, values: Any) -> list[np.ndarray | None]:
        """One picture or a list of them, see data/user_images.py; a tensor or array (B, C, H, W)
        holds several."""
        if isinstance(values, (torch.Tensor, np.ndarray)) and values.ndim == 4:
            values = list(values)
        if not isinstance(values, (list, tuple)):
            values = [values]
        try:
            return [None if v is None else to_greys(v, self.args.size) for v in values]
        except ValueError as error:
            raise ValueError(f"modality {self.name!r}: {error}") from None

    def to_stored(self, values: torch.Tensor) -> list[np.ndarray]:
        if not torch.isfinite(values).all():
            raise ValueError(
                f"modality {self.name!r}: the decoder gave pixels that are not finite: nothing is "
                "drawn from them"
            )
        return list(((values.float().clamp(-1, 1) + 1) / 2).cpu().numpy()[:, 0])  # B of (S, S)

    def show(self, stored: Sequence[np.ndarray]) -> list[Image.Image]:
        return [Image.fromarray((a * 255).round().astype(np.uint8), mode="L") for a in stored]

    def to_array(self, stored: Sequence[np.ndarray]) -> np.ndarray:
        """(B, S, S, 1) in [0, 1]."""
        return np.stack(stored)[..., None]

    def write(self, values: Sequence[Image.Image], folder: Path, stems: Sequence[str]) -> list[str]:
        names = []
        for image, stem in zip(values, stems, strict=True):
            names.append(f"{stem}_{self.name}.png")
            image.save(folder / names[-1])
        return names

    def read(self, path: Path) -> list[Any]:
        try:
            return [read_picture(path, self.args.size)]
        except ValueError as error:
            raise ValueError(f"modality {self.name!r}: {error}") from error

    def preview(self, values: Image.Image) -> np.ndarray:
        return np.asarray(values, dtype=np.float32) / 255
