"""Contrastive losses between two modalities of a bridging pair.

Legend: B batch (global, after gathering), D shared width.
"""

import torch
import torch.distributed as dist
import torch.nn.functional as F


def gather_rows(tensor: torch.Tensor) -> torch.Tensor:
    """Concatenate a (B_local, ...) tensor over all processes, for a loss that every process
    computes on all rows.

    The gradient reaches the local rows only, times the number of processes, which averaging over
    processes takes back. Nothing is communicated in the backward pass: a process whose rows lack a
    modality has none to wait for.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, tensor.detach().contiguous())
    local = tensor.view_as(tensor)
    if local.requires_grad:
        local.register_hook(lambda gradient: gradient * len(gathered))
    gathered[dist.get_rank()] = local
    return torch.cat(gathered, dim=0)


def positives(keys_a: torch.Tensor, keys_b: torch.Tensor) -> torch.Tensor:
    """(B, B) bool: rows whose prompt is identical in a or in b, and the diagonal. Keys (B,) int64;
    equal key = equal prompt, as normal reports that repeat word for word."""
    same = (keys_a[:, None] == keys_a[None]) | (keys_b[:, None] == keys_b[None])
    return same | torch.eye(len(keys_a), dtype=torch.bool, device=same.device)


def infonce(
    embeds_a: torch.Tensor,
    embeds_b: torch.Tensor,
    logit_scale: torch.Tensor | float,
    positive: torch.Tensor,
    keep: torch.Tensor | None = None,
) -> torch.Tensor:
    """Symmetric InfoNCE (MedCoDi-M eq. 4, both directions):

        L_ab = 1/2 [ CE(s E_a E_b^T, targets) + CE(s E_b E_a^T, targets) ]

    `embeds_*` (B, D) unit norm, `positive` (B, B) bool; the target of a row is uniform over its
    positives. Of the rows that are not in `keep` (B,) bool, finite numbers are expected, and
    nothing is said.
    """
    pairs, count = _pairs(positive, keep)
    logits = logit_scale * embeds_a @ embeds_b.T  # (B, B)
    logits = logits.masked_fill(~pairs, torch.finfo(logits.dtype).min)
    positive = positive & pairs
    return 0.5 * (
        _cross_entropy(logits, positive, count) + _cross_entropy(logits.T, positive.T, count)
    )


def _pairs(positive: torch.Tensor, keep: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, B) bool: pairs of kept rows, and the number of these rows. A mask, because the host would
    wait for an index."""
    keep = positive.new_ones(len(positive)) if keep is None else keep
    return keep[:, None] & keep[None], keep.sum().clamp(min=1)


def _cross_entropy(
    logits: torch.Tensor, positive: torch.Tensor, count: torch.Tensor
) -> torch.Tensor:
    targets = positive.float() / positive.sum(dim=1, keepdim=True).clamp(min=1)
    return -(F.log_softmax(logits, dim=1) * targets).sum() / count


def sigmoid_loss(
    embeds_a: torch.Tensor,
    embeds_b: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor,
    positive: torch.Tensor,
    keep: torch.Tensor | None = None,
) -> torch.Tensor:
    """Pairwise sigmoid loss (Zhai et al. 2023, SigLIP), summed over pairs and divided by B; `keep`
    as in `infonce`."""
    pairs, count = _pairs(positive, keep)
    logits = logit_scale * embeds_a @ embeds_b.T + logit_bias
    signs = positive.float() * 2 - 1
    return -F.logsigmoid(signs * logits).masked_fill(~pairs, 0.0).sum() / count
