"""Multi-prompt (MedCoDi-M section 2.2): draw a subset of the available prompts, fuse it into the
context.

Legend: B batch, P prompts in a fixed order, L context tokens, D widths.
"""

import torch
from torch import nn

from medcodi.encoders.base import PromptEncoding

FUSIONS = ("mean", "tokens")


def draw_subsets(
    available: torch.Tensor, uniform: torch.Tensor, multi_prompt: bool = True
) -> torch.Tensor:
    """Draw a non-empty subset S of the available prompts of each row, uniformly from the 2^n - 1.

    `available` (B, P) bool, `uniform` (B,) in [0, 1). With `multi_prompt=False` one prompt alone,
    uniformly (ablation). Returns (B, P) bool; a row with nothing available stays empty.
    """
    count = available.sum(dim=1)  # (B,) n
    if multi_prompt:
        number = (
            1 + (uniform.double() * (2.0**count - 1)).floor().long()
        )  # 1 .. 2^n - 1: bits say who is in S
        position = (available.cumsum(dim=1) - 1).clamp(min=0)  # (B, P) index among the available
        chosen = (number[:, None] >> position) & 1 == 1
    else:
        pick = (uniform.double() * count).floor().long()  # (B,)
        chosen = available.cumsum(dim=1) - 1 == pick[:, None]
    return chosen & available


class PromptFusion(nn.Module):
    """Prompts and a keep mask -> context (B, L, D) and its mask, with one learned null token for
    "no prompt".

    mean (the paper):  c = sum_j alpha_j h_j, sum alpha = 1, as one token
    tokens (ours):     c = [c_0, tokens_j + type_j, V'_j(z_j) + type_j], concatenated, with mask
                       c_0 = sum_j S_j [h_j, V'_j(z_j)], a summary, S_j linear

    V'_j(z_j) are tokens of the prompt's own latents (optional): the contrastive embedding keeps
    what modalities share in a batch, the latents keep everything, such as which side a report
    names. The first token sums the prompts up (the null token when there is none): a denoiser may
    add it to its timestep embedding, a far shorter way than attention.
    """

    def __init__(
        self,
        fusion: str,
        prompts: dict[str, int],
        embed_dim: int,
        context_dim: int,
        latent_encoders: dict[str, nn.Module] | None = None,
    ) -> None:
        """`prompts`: name -> width of its tokens, in the order of every keep mask.
        `latent_encoders`: name -> network (latents, noise level (B,)) -> (B, K, context_dim)."""
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion must be one of {FUSIONS}, got {fusion!r}")
        self.fusion, self.names = fusion, list(prompts)
        self.null = nn.Parameter(0.02 * torch.randn(1, 1, context_dim))
        if fusion == "mean":
            self.projection = nn.Linear(embed_dim, context_dim)
        else:
            self.token_projections = nn.ModuleDict(
                {n: nn.Linear(d, context_dim) for n, d in prompts.items()}
            )
            self.types = nn.ParameterDict(
                {n: nn.Parameter(0.02 * torch.randn(context_dim)) for n in prompts}
            )
        if latent_encoders and fusion == "mean":
            raise ValueError(
                "prompt_latents needs fusion 'tokens'; fusion 'mean' has the embeddings alone"
            )
        self.latent_encoders = nn.ModuleDict(latent_encoders or {})
        if fusion == "tokens":
            widths = {
                n: self.latent_encoders[n].num_tokens * context_dim if latent_encoders else 0
                for n in prompts
            }
            self.summaries = nn.ModuleDict(
                {n: nn.Linear(embed_dim + w, context_dim) for n, w in widths.items()}
            )

    def forward(
        self,
        prompts: dict[str, PromptEncoding],
        keep: torch.Tensor,
        weights: dict[str, float] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`keep` (B, P) bool over `self.names`; a name that `prompts` lacks must not be kept."""
        names = [n for n in self.names if n in prompts]
        unknown = sorted(set(prompts) - set(self.names))
        if unknown:
            raise ValueError(
                f"prompt(s) {unknown} cannot stand in the context; valid prompts: {self.names}"
            )
        kept = keep[:, [self.names.index(n) for n in names]]  # (B, P')
        null = self.null.expand(keep.shape[0], -1, -1)
        empty = ~kept.any(dim=1, keepdim=True) if names else keep.new_ones(len(keep), 1)  # (B, 1)
        if not names:
            return null, empty
        if self.fusion == "mean":
            alpha = torch.stack(
                [kept[:, j].float() * (weights or {}).get(n, 1.0) for j, n in enumerate(names)],
                dim=1,
            )
            alpha = alpha / alpha.sum(dim=1, keepdim=True).clamp(min=1e-8)
            mixed = sum(
                alpha[:, j, None].to(prompts[n].embeds) * prompts[n].embeds
                for j, n in enumerate(names)
            )  # (B, D)
            context = torch.where(empty[:, :, None], null, self.projection(mixed)[:, None])
            return context, torch.ones_like(empty)
        summary = torch.where(empty[:, :, None], null, 0.0)  # (B, 1, D)
        parts, masks = [], []
        for j, name in enumerate(names):
            encoding = prompts[name]
            tokens, real, described = (
                self.token_projections[name](encoding.tokens),
                encoding.mask,
                encoding.embeds,
            )
            if name in self.latent_encoders:
                clean = torch.zeros(len(kept), device=keep.device)  # noise level
                latents = self.latent_encoders[name](encoding.latents, clean)  # (B, K, D)
                tokens = torch.cat([tokens, latents], dim=1)
                real = torch.cat([real, real.new_ones(latents.shape[:2])], dim=1)
                described = torch.cat([described, latents.flatten(1)], dim=1)  # (B, E + K D)
            summary = summary + self.summaries[name](described)[:, None] * kept[:, j, None, None]
            parts.append(tokens + self.types[name])  # (B, L_j + K_j, D)
            masks.append(real & kept[:, j, None])
        return torch.cat([summary, *parts], dim=1), torch.cat(
            [torch.ones_like(empty), *masks], dim=1
        )
