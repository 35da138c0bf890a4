"""Text tower: open_clip's causal text transformer over any tokenizer."""

from collections.abc import Callable

import torch
from torch import nn

from medcodi.encoders.base import activation_layer
from medcodi.nn.transfer import upload


class TextTower(nn.Module):
    """list[str] -> token states (B, T, width) and mask (B, T).

    `tokenize(texts) -> (B, T) int64` pads with `pad_id`; T <= context_length.
    """

    def __init__(
        self,
        tokenize: Callable[[list[str]], torch.Tensor],
        vocab_size: int,
        pad_id: int,
        context_length: int,
        width: int,
        layers: int,
        heads: int,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        from open_clip.transformer import TextTransformer  # slow to import: when needed

        self.tokenize, self.pad_id, self.context_length = tokenize, pad_id, context_length
        self.transformer = TextTransformer(
            context_length=context_length,
            vocab_size=vocab_size,
            width=width,
            layers=layers,
            heads=heads,
            output_dim=width,
            proj_type="none",
            pool_type="last",
            pad_id=pad_id,
            output_tokens=True,
            act_layer=activation_layer(activation),
        )

    def forward(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        device = self.transformer.positional_embedding.device
        ids = upload(self.tokenize(texts)[:, : self.context_length], device)  # (B, T)
        mask = ids != self.pad_id
        # causal attention never looks right, so trailing padding reaches no real token
        ids = torch.nn.functional.pad(
            ids, (0, self.context_length - ids.shape[1]), value=self.pad_id
        )
        _, states = self.transformer(ids)  # (B, context_length, W)
        return states[:, : mask.shape[1]], mask
