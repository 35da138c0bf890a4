"""Denoiser of vector latents (reports, table rows, 1-D signals), arranged as N slots of C numbers.

The paper treats a report latent as one vector and runs a U-Net of fully connected residual blocks
on it (MedCoDi-M section 3.2.2, after Versatile Diffusion). Here the slots are tokens of a small
U-shaped transformer (Bao et al. 2023): the same skip connections, and attention to every context
token at every depth.
Legend: B batch, N slots, C numbers a slot, W width, L context tokens, K coupling tokens, E
environment width.
"""

import torch
from torch import nn

from medcodi.diffusion.denoisers.base import Denoiser, DenoiserInput
from medcodi.nn.attention import Attention, FeedForward
from medcodi.nn.embedding import TimestepEmbedding


class VectorBlock(nn.Module):
    """Self-attention, attention to the context, cross-modal attention, feed-forward; adaptive norm
    from the timestep (adaLN-zero, Peebles and Xie 2023)."""

    def __init__(self, width: int, num_heads: int, context_dim: int, skip: bool) -> None:
        super().__init__()
        self.skip = nn.Linear(2 * width, width) if skip else None
        self.norm1, self.norm3 = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.norm2 = nn.LayerNorm(width)
        self.self_attention = Attention(width, num_heads)
        self.context_attention = Attention(width, num_heads, context_dim)
        self.feed_forward = FeedForward(width)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        nn.init.zeros_(self.modulation[1].weight)
        nn.init.zeros_(self.modulation[1].bias)
        self.cross_modal: Attention | None = None

    def forward(
        self,
        hidden: torch.Tensor,
        time: torch.Tensor,
        context: torch.Tensor,
        context_mask: torch.Tensor,
        coupling: torch.Tensor | None,
        coupling_mask: torch.Tensor | None,
        skipped: torch.Tensor | None,
    ) -> torch.Tensor:
        if self.skip is not None:
            hidden = self.skip(torch.cat([hidden, skipped], dim=-1))
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(time)[:, None].chunk(
            6, dim=-1
        )
        hidden = hidden + gate1 * self.self_attention(self.norm1(hidden) * (1 + scale1) + shift1)
        normed = self.norm2(hidden)
        hidden = hidden + self.context_attention(normed, context, context_mask)
        if self.cross_modal is not None and coupling is not None:
            hidden = hidden + self.cross_modal(normed, coupling, coupling_mask)
        return hidden + gate2 * self.feed_forward(self.norm3(hidden) * (1 + scale2) + shift2)


class Across(nn.Module):
    """One linear map over all slots: (B, N, C) -> (B, N, C')."""

    def __init__(self, slots: int, width_in: int, width_out: int) -> None:
        super().__init__()
        self.linear, self.slots = nn.Linear(slots * width_in, slots * width_out), slots

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.linear(hidden.flatten(1)).unflatten(1, (self.slots, -1))


class VectorDenoiser(Denoiser):
    """Noisy latents (B, N, C), timesteps (B,), context (B, L, D) -> prediction (B, N, C)."""

    def __init__(
        self,
        latent_shape: tuple[int, int],
        context_dim: int,
        width: int = 128,
        depth: int = 5,
        num_heads: int = 4,
        summary: bool = False,
        estimate: bool = False,
        across: bool = False,
    ) -> None:
        """`summary` adds the first context token, the summary of the prompts, to the timestep
        embedding; with `estimate` C more numbers a slot hold the linear estimate of the clean
        latents. With `across` the first and the last layer see all slots at once, for latents whose
        slots are no places, such as those of a table row."""
        super().__init__()
        if depth % 2 == 0:
            raise ValueError(f"depth must be odd (down, middle, up), got {depth}")
        slots, channels = latent_shape
        self.width, self.num_heads = width, num_heads
        channels_in = channels * (1 + estimate)
        self.input = Across(slots, channels_in, width) if across else nn.Linear(channels_in, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, slots, width))
        self.time = TimestepEmbedding(width)
        self.summary = nn.Linear(context_dim, width) if summary else None
        half = depth // 2
        self.blocks = nn.ModuleList(
            VectorBlock(width, num_heads, context_dim, skip=index > half) for index in range(depth)
        )
        # GELU's odd part is linear, as the estimate is: apart from 0 it bends, and two modes can be
        # told apart
        if across:
            nn.init.kaiming_normal_(self.input.linear.weight)
            for block in self.blocks:
                nn.init.normal_(block.feed_forward[0].bias)
        self.norm = nn.LayerNorm(width)
        self.output = Across(slots, width, channels) if across else nn.Linear(width, channels)
        # what is linear is known: from closed gates and a zero output there is nearly no gradient
        # to go by
        if estimate:
            for block in self.blocks:
                gates = block.modulation[1].bias.detach().view(6, width)
                gates[2], gates[5] = 1.0, 1.0
        else:
            for parameter in self.output.parameters():
                nn.init.zeros_(parameter)

    def add_coupling(self, environment_dim: int) -> None:
        for block in self.blocks:
            block.cross_modal = Attention(
                self.width, self.num_heads, environment_dim, sink=True, zero_init=True
            )
            with torch.no_grad():  # as in cross_modal.start_from_context_attention
                block.cross_modal.to_q.weight.copy_(block.context_attention.to_q.weight)
                if (
                    block.cross_modal.to_kv.weight.shape
                    == block.context_attention.to_kv.weight.shape
                ):
                    block.cross_modal.to_kv.weight.copy_(block.context_attention.to_kv.weight)

    def coupling_parameters(self) -> list[nn.Parameter]:
        return [
            p for b in self.blocks if b.cross_modal is not None for p in b.cross_modal.parameters()
        ]

    def predict(self, given: DenoiserInput) -> torch.Tensor:
        latents = given.with_estimate(dim=-1)  # (B, N, C or 2 C)
        time = self.time(given.timesteps)  # (B, W)
        if self.summary is not None:
            time = time + self.summary(given.context[:, 0])
        hidden = self.input(latents) + self.position  # (B, N, W)
        seen = (given.context, given.context_mask, given.coupling, given.coupling_mask)
        skips: list[torch.Tensor] = []
        half = len(self.blocks) // 2
        for index, block in enumerate(self.blocks):
            skipped = skips.pop() if index > half else None
            hidden = block(hidden, time, *seen, skipped)
            if index < half:
                skips.append(hidden)
        return self.output(self.norm(hidden))  # (B, N, C)
