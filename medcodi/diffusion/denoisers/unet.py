"""Denoiser of image latents: diffusers' UNet2DConditionModel, and its cross-modal attention."""

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn

from medcodi.diffusion.cross_modal import CrossModalProcessor, add_cross_modal_attention
from medcodi.diffusion.denoisers.base import Denoiser, DenoiserInput


class ImageDenoiser(Denoiser):
    """Noisy latents (B, C, H, W), timesteps (B,), context (B, L, D) -> prediction (B, C, H, W)."""

    def __init__(
        self,
        latent_shape: tuple[int, int, int],
        context_dim: int,
        unet: dict[str, Any],
        summary: bool = False,
        estimate: bool = False,
    ) -> None:
        """With `summary`, the first context token, which sums the prompts up, is also added to the
        timestep embedding, as SDXL's pooled text is (Podell et al. 2023). With `estimate`, C more
        input channels hold the linear estimate of the clean latents."""
        super().__init__()
        channels, height, width = latent_shape
        if summary:
            unet = unet | {
                "class_embed_type": "projection",
                "projection_class_embeddings_input_dim": context_dim,
            }
        self.unet = UNet2DConditionModel(
            sample_size=(height, width),
            in_channels=channels * (1 + estimate),
            out_channels=channels,
            cross_attention_dim=context_dim,
            **unet,
        )
        self.summary = summary

    def add_coupling(self, environment_dim: int) -> None:
        add_cross_modal_attention(self.unet, environment_dim)

    def coupling_parameters(self) -> list[nn.Parameter]:
        processors = [m for m in self.unet.modules() if isinstance(m, CrossModalProcessor)]
        return [p for m in processors for p in m.parameters()]

    def predict(self, given: DenoiserInput) -> torch.Tensor:
        return self.unet(
            given.with_estimate(dim=1),  # (B, C or 2 C, H, W)
            given.timesteps,
            given.context,
            class_labels=given.context[:, 0] if self.summary else None,  # (B, D)
            encoder_attention_mask=given.context_mask,
            cross_attention_kwargs=given.cross_attention(),
        ).sample
