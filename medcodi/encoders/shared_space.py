"""Stage 1: the shared latent space (MedCoDi-M section 2.1): one prompt encoder a group, bridging
pairs, one scale."""

import math
from typing import Any

import torch
from torch import nn

from medcodi.encoders.base import PromptEncoder, PromptEncoding
from medcodi.encoders.contrastive import gather_rows, infonce, positives, sigmoid_loss

MAX_LOGIT_SCALE = 100.0


class SharedSpace(nn.Module):
    """Prompt encoders by group; `group_of[name]` tells which encoder a modality uses."""

    def __init__(
        self, encoders: dict[str, PromptEncoder], group_of: dict[str, str], loss: str = "infonce"
    ) -> None:
        super().__init__()
        if loss not in ("infonce", "sigmoid"):
            raise ValueError(f"shared_space.loss must be 'infonce' or 'sigmoid', got {loss!r}")
        self.encoders, self.group_of, self.loss = nn.ModuleDict(encoders), dict(group_of), loss
        # one number each; ZeRO and fully_shard take no parameter without a dimension
        self.logit_scale = nn.Parameter(
            torch.tensor([math.log(1 / 0.07 if loss == "infonce" else 10.0)])
        )
        self.logit_bias = nn.Parameter(torch.tensor([-10.0])) if loss == "sigmoid" else None

    @property
    def scale(self) -> torch.Tensor:
        """s = exp(logit_scale) <= 100."""
        return self.logit_scale[0].exp().clamp(max=MAX_LOGIT_SCALE)

    def encoder(self, name: str) -> PromptEncoder:
        return self.encoders[self.group_of[name]]

    def encode(self, name: str, values: Any) -> PromptEncoding:
        return self.encoder(name)(values)

    def pair_loss(
        self,
        embeds: tuple[torch.Tensor, torch.Tensor],
        keys: tuple[torch.Tensor, torch.Tensor],
        both: torch.Tensor,
    ) -> torch.Tensor:
        """Loss of one bridging pair over the rows (of all processes) where both sides are present.

        `embeds` two (B, D) tensors and `keys` two (B,) int64 on all local rows; `both` (B,) bool.
        Rows outside `both` may hold anything. Zero when fewer than two rows have both sides.
        """
        keep = gather_rows(both.float()).bool()
        a, b = (torch.where(keep[:, None], gather_rows(x), 0.0) for x in embeds)
        positive = positives(*(gather_rows(k.double()).long() for k in keys))
        if self.loss == "sigmoid":
            loss = sigmoid_loss(a, b, self.scale, self.logit_bias[0], positive, keep)
        else:
            loss = infonce(a, b, self.scale, positive, keep)
        return torch.where(keep.sum() >= 2, loss, 0.0)
