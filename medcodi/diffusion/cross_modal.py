"""Cross-modal attention of stage 3 (MedCoDi-M section 2.3), as attention processors of a diffusers
UNet.

Each cross-attention level of the frozen denoiser gets one more branch that attends to the
environment codes of the OTHER outputs. Its output projection starts at zero: joint generation
begins equal to independent generation, exactly.
"""

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention as DiffusersAttention
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import nn

from medcodi.nn.attention import Attention


def start_from_context_attention(
    cross_modal: Attention, to_q: nn.Linear, to_k: nn.Linear, to_v: nn.Linear
) -> None:
    """Queries, keys and values start as those of the denoiser's trained attention to its prompts,
    where the widths are equal: the environment encoders then only have to speak the language of the
    prompts. The output stays zero."""
    if cross_modal.to_q.weight.shape != to_q.weight.shape:
        return
    with torch.no_grad():
        cross_modal.to_q.weight.copy_(to_q.weight)
        if cross_modal.to_kv.in_features == to_k.in_features:
            cross_modal.to_kv.weight.copy_(torch.cat([to_k.weight, to_v.weight]))


class SelfAttentionProcessor(AttnProcessor2_0):
    """diffusers passes the same keyword arguments to every processor; self-attention has no use for
    the coupling."""

    def __call__(
        self,
        attn: DiffusersAttention,
        hidden_states,
        *args,
        coupling=None,
        coupling_mask=None,
        **kwargs,
    ):
        return super().__call__(attn, hidden_states, *args, **kwargs)


class CrossModalProcessor(nn.Module):
    """Attention to the context plus cross-modal attention to the coupling tokens (B, K, E)."""

    def __init__(self, hidden_dim: int, environment_dim: int, num_heads: int) -> None:
        super().__init__()
        self.context_attention = AttnProcessor2_0()
        self.cross_modal = Attention(
            hidden_dim, num_heads, environment_dim, sink=True, zero_init=True
        )

    def __call__(
        self,
        attn: DiffusersAttention,
        hidden_states: torch.Tensor,
        *args,
        coupling: torch.Tensor | None = None,
        coupling_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        out = self.context_attention(attn, hidden_states, *args, **kwargs)
        if coupling is None:
            return out
        return out + self.cross_modal(hidden_states, coupling, coupling_mask)


def add_cross_modal_attention(unet: UNet2DConditionModel, environment_dim: int) -> None:
    """Give every cross-attention (`attn2`) of the UNet a cross-modal branch."""
    processors = {}
    for name, module in unet.named_modules():
        if not isinstance(module, DiffusersAttention):
            continue
        if module.is_cross_attention:
            heads = module.heads
            processor = CrossModalProcessor(module.query_dim, environment_dim, heads)
            start_from_context_attention(
                processor.cross_modal, module.to_q, module.to_k, module.to_v
            )
            processors[f"{name}.processor"] = processor
        else:
            processors[f"{name}.processor"] = SelfAttentionProcessor()
    unet.set_attn_processor(processors)
