"""Choosing the next token of every row: greedy, or nucleus sampling with one generator a row.

Legend: B rows, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

STRATEGIES = ("greedy", "nucleus")


def check_strategy(strategy: str, top_p: float, temperature: float) -> None:
    """Raise ValueError for an unknown strategy or values out of range."""
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy must be one of {STRATEGIES}, got {strategy!r}")
    if not 0 < top_p <= 1 or temperature <= 0:
        raise ValueError(
            f"expected 0 < top_p <= 1 and temperature > 0, got top_p={top_p}, "
            f"temperature={temperature}"
        )


def row_generators(
    generator: torch.Generator | Sequence[torch.Generator] | None, num_rows: int
) -> list[torch.Generator]:
    """One CPU generator for each row; a single one (or None: the global one) draws a seed for each
    row in order."""
    if isinstance(generator, (list, tuple)):
        if len(generator) != num_rows:
            raise ValueError(
                f"expected one generator for each of {num_rows} rows, got {len(generator)}"
            )
        return list(generator)
    seeds = torch.randint(2**62, (num_rows,), generator=generator)
    return [torch.Generator().manual_seed(int(seed)) for seed in seeds]


def select_tokens(
    logits: Tensor,
    strategy: str,
    top_p: float,
    temperature: float,
    generators: Sequence[torch.Generator] | None,
) -> Tensor:
    """Next-token logits (B, V) -> token ids (B,)."""
    if strategy == "greedy":
        return logits.argmax(dim=-1)
    uniform = torch.cat([torch.rand(1, generator=g) for g in generators]).to(logits.device)  # (B,)
    return nucleus_tokens(logits / temperature, top_p, uniform)


def nucleus_tokens(logits: Tensor, top_p: float, uniform: Tensor) -> Tensor:
    """Nucleus sampling (Holtzman et al. 2020) by inverting the distribution function of the
    nucleus.

    Args:
        logits: (B, V).
        top_p: the nucleus is the smallest set of likeliest tokens whose probability reaches
        `top_p`.
        uniform: (B,) in [0, 1), the only randomness: one number a row, the same token on any
        device.
    """
    probabilities, order = logits.softmax(dim=-1).sort(
        dim=-1, descending=True, stable=True
    )  # (B, V)
    cumulative = probabilities.cumsum(dim=-1)
    in_nucleus = cumulative - probabilities < top_p  # the first token always is
    nucleus_mass = (probabilities * in_nucleus).sum(dim=-1, keepdim=True)  # (B, 1)
    rank = (cumulative <= uniform[:, None] * nucleus_mass).sum(dim=-1, keepdim=True)  # (B, 1)
    rank = rank.clamp(max=in_nucleus.sum(dim=-1, keepdim=True) - 1)
    return order.gather(-1, rank)[:, 0]  # (B,)
