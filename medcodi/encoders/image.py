"""Image tower: open_clip's vision transformer on one-channel radiographs."""

import torch
import torch.nn.functional as F
from torch import nn

from medcodi.encoders.base import activation_layer


def convolutional_stem(channels: list[int], width: int, patch_size: int) -> nn.Sequential:
    """Convolutions of stride 2 in the place of the patch embedding: (B, 3, R, R) -> (B, width,
    R / patch_size, R / patch_size). They see edges before they see patches (Xiao et al. 2021).
    ValueError unless patch_size is 2^(1 + number of `channels`)."""
    if patch_size != 2 ** (len(channels) + 1):
        raise ValueError(
            f"a stem of {len(channels) + 1} convolutions of stride 2 makes patches of "
            f"{2 ** (len(channels) + 1)} pixels, but patch_size is {patch_size}"
        )
    layers: list[nn.Module] = []
    before = 3
    for number, out in enumerate(channels):
        kernel = 3 if number else 5
        layers += [
            nn.Conv2d(before, out, kernel, stride=2, padding=kernel // 2),
            nn.GroupNorm(8, out),
            nn.GELU(),
        ]
        before = out
    return nn.Sequential(*layers, nn.Conv2d(before, width, 3, stride=2, padding=1))


class ImageTower(nn.Module):
    """(B, 1, S, S) in [-1, 1] -> patch tokens (B, (R/patch)^2, width), all unmasked. Grey is
    repeated to 3 channels.

    Args:
        resolution: R, side that images are resized to; S by default.
        pixels: "unit" leaves them in [-1, 1]; "clip" gives each channel the mean and deviation that
        CLIP was trained on.
        class_token: the class token stands first among the tokens.
        stem: channels of convolutions before the last; with them `convolutional_stem` stands in
        the place of the patch embedding.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        layers: int,
        heads: int,
        resolution: int | None = None,
        pixels: str = "unit",
        activation: str = "gelu",
        class_token: bool = False,
        stem: list[int] | None = None,
    ) -> None:
        super().__init__()
        from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
        from open_clip.transformer import VisionTransformer  # slow to import: when needed

        if pixels not in ("unit", "clip"):
            raise ValueError(f"pixels must be 'unit' or 'clip', got {pixels!r}")
        self.image_size, self.resolution, self.pixels = image_size, resolution or image_size, pixels
        if self.resolution % patch_size:
            raise ValueError(
                f"the tower's resolution {self.resolution} is not divisible by its patch size "
                f"{patch_size}"
            )
        self.transformer = VisionTransformer(
            image_size=self.resolution,
            patch_size=patch_size,
            width=width,
            layers=layers,
            heads=heads,
            mlp_ratio=4.0,
            output_dim=width,
            pool_type="none" if class_token else "avg",
            output_tokens=True,
            act_layer=activation_layer(activation),
        )
        if stem:
            self.transformer.conv1 = convolutional_stem(stem, width, patch_size)
        self.transformer.proj = None  # the shared projection stands in PromptEncoder
        for name, values in (("mean", OPENAI_DATASET_MEAN), ("std", OPENAI_DATASET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if images.shape[1:] != (1, self.image_size, self.image_size):
            raise ValueError(
                f"expected images (B, 1, {self.image_size}, {self.image_size}), got "
                f"{tuple(images.shape)}"
            )
        if self.resolution != self.image_size:
            size = (self.resolution, self.resolution)
            images = F.interpolate(
                images, size, mode="bicubic", antialias=True, align_corners=False
            ).clamp(-1, 1)
        images = images.expand(-1, 3, -1, -1)
        if self.pixels == "clip":
            images = ((images + 1) / 2 - self.mean) / self.std
        _, tokens = self.transformer(images)  # (B, T, W)
        return tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
