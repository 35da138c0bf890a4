"""Image tower: open_clip's vision transformer on one-channel radiographs."""

import torch
from open_clip.transformer import VisionTransformer
from torch import nn


class ImageTower(nn.Module):
    """(B, 1, S, S) in [-1, 1] -> patch tokens (B, (S/patch)^2, width), all unmasked. Grey is repeated to 3 channels."""

    def __init__(self, image_size: int, patch_size: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.transformer = VisionTransformer(
            image_size=image_size, patch_size=patch_size, width=width, layers=layers, heads=heads, mlp_ratio=4.0,
            output_dim=width, pool_type="avg", output_tokens=True,
        )  # fmt: skip
        self.transformer.proj = None  # the shared projection stands in PromptEncoder

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if images.shape[1:] != (1, self.image_size, self.image_size):
            raise ValueError(
                f"expected images (B, 1, {self.image_size}, {self.image_size}), got {tuple(images.shape)}"
            )
        _, tokens = self.transformer(images.expand(-1, 3, -1, -1))  # (B, T, W)
        return tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
