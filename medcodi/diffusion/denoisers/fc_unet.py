"""The paper's denoiser of report latents: a U-Net of fully connected residual blocks (MedCoDi-M
section 3.2.2, after Versatile Diffusion, Xu et al. 2023).

The latent becomes a hidden feature of C channels by S positions (320 by 4). A block sees all C * S
numbers at once; the transformers between them attend along S and to the context.
Legend: B batch, N slots, Z numbers a slot, C channels, S positions, T width of the time embedding,
L context tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import Transformer2DModel
from diffusers.models.attention_processor import Attention
from torch import nn

from medcodi.diffusion.cross_modal import CrossModalProcessor, add_cross_modal_attention
from medcodi.diffusion.denoisers.base import Denoiser, DenoiserInput
from medcodi.nn.embedding import TimestepEmbedding


class FCResBlock(nn.Module):
    """GroupNorm, SiLU, linear, twice, with the time embedding between and a skip connection: (B, C,
    S) -> (B, C', S')."""

    def __init__(
        self, in_shape: tuple[int, int], out_shape: tuple[int, int], time_dim: int, groups: int
    ) -> None:
        super().__init__()
        width_in, width_out = in_shape[0] * in_shape[1], out_shape[0] * out_shape[1]
        self.out_shape = out_shape
        self.norm1, self.norm2 = nn.GroupNorm(groups, width_in), nn.GroupNorm(groups, width_out)
        self.linear1, self.linear2 = nn.Linear(width_in, width_out), nn.Linear(width_out, width_out)
        self.time = nn.Linear(time_dim, width_out)
        self.shortcut = nn.Linear(width_in, width_out) if width_in != width_out else nn.Identity()
        self.activation = nn.SiLU()
        nn.init.zeros_(self.linear2.weight)
        nn.init.zeros_(self.linear2.bias)

    def forward(self, hidden: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        flat = hidden.flatten(1)  # (B, C * S)
        inner = self.linear1(self.activation(self.norm1(flat))) + self.time(self.activation(time))
        inner = self.linear2(self.activation(self.norm2(inner)))
        return (self.shortcut(flat) + inner).unflatten(1, self.out_shape)  # (B, C', S')


class FCStage(nn.Module):
    """A residual block, then a transformer, then a linear map in the place of down- or up-sampling;
    each optional."""

    def __init__(
        self, block: FCResBlock | None, attention: nn.Module | None, resample: nn.Module | None
    ) -> None:
        super().__init__()
        self.block, self.attention, self.resample = block, attention, resample

    def forward(
        self,
        hidden: torch.Tensor,
        time: torch.Tensor,
        context: torch.Tensor,
        context_mask: torch.Tensor,
        kwargs: dict | None,
    ) -> torch.Tensor:
        if self.block is not None:
            hidden = self.block(hidden, time)  # (B, C, S)
        if self.attention is not None:
            hidden = self.attention(
                hidden[..., None],
                context,
                encoder_attention_mask=context_mask,
                cross_attention_kwargs=kwargs,
            ).sample[..., 0]
        if self.resample is not None:
            hidden = self.resample(hidden.flatten(1)).view_as(hidden)
        return hidden


@dataclass
class _Parts:
    """Makes the parts of one U-Net, all of the same S, T and groups."""

    model_channels: int
    second_dim: int
    context_dim: int
    num_heads: int
    groups: int

    @property
    def time_dim(self) -> int:
        return 4 * self.model_channels

    def stage(self, before: int, after: int, attends: bool, resampled: bool = False) -> FCStage:
        shapes = (before, self.second_dim), (after, self.second_dim)
        return FCStage(
            FCResBlock(*shapes, self.time_dim, self.groups),
            self.transformer(after) if attends else None,
            self.resample(after) if resampled else None,
        )

    def transformer(self, channels: int) -> Transformer2DModel:
        built = Transformer2DModel(  # by name: a saved part forgets sizes that were not named
            num_attention_heads=self.num_heads,
            attention_head_dim=channels // self.num_heads,
            in_channels=channels,
            cross_attention_dim=self.context_dim,
            norm_num_groups=self.groups,
        )
        nn.init.zeros_(built.proj_out.weight)
        nn.init.zeros_(built.proj_out.bias)
        return built

    def resample(self, channels: int) -> nn.Linear:
        return nn.Linear(channels * self.second_dim, channels * self.second_dim)


class FCUNet(Denoiser):
    """Noisy latents (B, N, Z), timesteps (B,), context (B, L, D) -> prediction (B, N, Z)."""

    def __init__(
        self,
        latent_shape: tuple[int, int],
        context_dim: int,
        model_channels: int = 320,
        channel_mult: Sequence[int] = (1, 2, 4, 4),
        attention: Sequence[bool] = (True, True, True, False),
        num_blocks: int = 2,
        second_dim: int = 4,
        num_heads: int = 8,
        norm_num_groups: int = 32,
    ) -> None:
        super().__init__()
        if len(attention) != len(channel_mult):
            raise ValueError(
                f"attention has {len(attention)} entries, channel_mult has {len(channel_mult)}"
            )
        self.latent_shape, self.second_dim = tuple(latent_shape), second_dim
        latent_dim = latent_shape[0] * latent_shape[1]
        parts = _Parts(model_channels, second_dim, context_dim, num_heads, norm_num_groups)
        widths = [mult * model_channels for mult in channel_mult]

        self.time = TimestepEmbedding(parts.time_dim, num_frequencies=model_channels)
        self.input = nn.Linear(latent_dim, model_channels * second_dim)
        channels, skips = model_channels, [model_channels]
        down: list[FCStage] = []
        for level, width in enumerate(widths):
            for _ in range(num_blocks):
                down.append(parts.stage(channels, width, attention[level]))
                channels = width
                skips.append(channels)
            if level < len(widths) - 1:
                down.append(FCStage(None, None, parts.resample(channels)))
                skips.append(channels)
        self.down = nn.ModuleList(down)
        self.middle = nn.ModuleList(
            [parts.stage(channels, channels, True), parts.stage(channels, channels, False)]
        )
        up: list[FCStage] = []
        for level in reversed(range(len(widths))):
            for index in range(num_blocks + 1):
                resampled = level > 0 and index == num_blocks
                up.append(
                    parts.stage(channels + skips.pop(), widths[level], attention[level], resampled)
                )
                channels = widths[level]
        self.up = nn.ModuleList(up)
        self.norm = nn.GroupNorm(norm_num_groups, channels)
        self.output = nn.Linear(channels * second_dim, latent_dim)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def add_coupling(self, environment_dim: int) -> None:
        add_cross_modal_attention(self, environment_dim)

    def set_attn_processor(self, processors: dict[str, nn.Module]) -> None:
        """As diffusers' UNets: one processor for every attention, by its name."""
        for name, module in self.named_modules():
            if isinstance(module, Attention):
                module.set_processor(processors[f"{name}.processor"])

    def coupling_parameters(self) -> list[nn.Parameter]:
        return [
            p for m in self.modules() if isinstance(m, CrossModalProcessor) for p in m.parameters()
        ]

    def predict(self, given: DenoiserInput) -> torch.Tensor:
        if given.estimate is not None:
            raise ValueError("FCUNet takes no estimate of the clean latents")
        seen = (given.context, given.context_mask, given.cross_attention())
        time = self.time(given.timesteps)  # (B, T)
        hidden = self.input(given.latents.flatten(1)).unflatten(
            1, (-1, self.second_dim)
        )  # (B, C, S)
        skips = [hidden]
        for stage in self.down:
            hidden = stage(hidden, time, *seen)
            skips.append(hidden)
        for stage in self.middle:
            hidden = stage(hidden, time, *seen)
        for stage in self.up:
            hidden = stage(torch.cat([hidden, skips.pop()], dim=1), time, *seen)
        out = self.output(nn.functional.silu(self.norm(hidden)).flatten(1))  # (B, N * Z)
        return out.unflatten(1, self.latent_shape)
