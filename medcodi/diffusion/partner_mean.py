"""What the partners of a joint generation add to E[z_0 | prompts], before any noise of the output
is read.

Cross-modal attention (MedCoDi-M section 2.3) has to find what outputs share under the noise of its
target, as a denoiser has to find what prompts say. As there, a regression on z_0 sees it in every
row: E[z_0 | prompts, partners] is the mean that the denoiser knows already plus what this network
reads from the partners' environment codes V_j(z_t^j, t_j). It starts at zero, so that joint
generation begins equal to independent generation.
Legend: B batch, L context tokens, D context width, K_j tokens of partner j, E environment width.
"""

from collections.abc import Mapping

import torch
from torch import nn

from medcodi.diffusion.prompt_mean import PromptMean

SUMMARY_NUMBERS = 16  # of each token, in the summary of a partner


class Summary(nn.Module):
    """Codes (B, K, E) -> (B, E): a linear map that keeps where each token stands."""

    def __init__(self, num_tokens: int, dim: int) -> None:
        super().__init__()
        self.of_token = nn.Linear(dim, SUMMARY_NUMBERS)
        self.of_all = nn.Linear(num_tokens * SUMMARY_NUMBERS, dim)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return self.of_all(self.of_token(codes).flatten(1))


class PartnerMean(nn.Module):
    """E[z_0 | prompts, partners] - E[z_0 | prompts] of one output, (B, *latent_shape)."""

    def __init__(
        self,
        latent_shape: tuple[int, ...],
        context_dim: int,
        environment_dim: int,
        partners: Mapping[str, int],
    ) -> None:
        """`partners`: name -> number K_j of its environment tokens."""
        super().__init__()
        self.context = nn.Linear(context_dim, environment_dim)
        self.summaries = nn.ModuleDict(
            {name: Summary(count, environment_dim) for name, count in partners.items()}
        )
        self.types = nn.ParameterDict(
            {name: nn.Parameter(0.02 * torch.randn(environment_dim)) for name in partners}
        )
        self.mean = PromptMean(latent_shape, environment_dim, depth=1)

    def forward(
        self,
        context: torch.Tensor,
        context_mask: torch.Tensor,
        codes: Mapping[str, torch.Tensor],
        present: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """`context` (B, L, D) of the prompts with its mask (B, L); `codes[j]` (B, K_j, E) of the
        OTHER members and `present[j]` (B,) bool, the rows that have them. A row without a partner
        gets zeros."""
        tokens = self.context(context)
        summary, parts, masks = tokens[:, :1], [tokens[:, 1:]], [context_mask]
        for name, code in codes.items():
            told = present[name]
            summary = summary + self.summaries[name](code)[:, None] * told[:, None, None]
            parts.append(code + self.types[name])
            masks.append(told[:, None].expand(-1, code.shape[1]))
        mean = self.mean(torch.cat([summary, *parts], dim=1), torch.cat(masks, dim=1))
        alone = ~torch.stack(list(present.values())).any(dim=0)
        return mean.masked_fill(alone.view(-1, *[1] * (mean.ndim - 1)), 0.0)
