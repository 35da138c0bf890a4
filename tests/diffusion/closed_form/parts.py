"""Rows whose latents are linear in two prompts."""

import torch

from medcodi.encoders.base import PromptEncoding

ROWS, SHAPE, WIDTHS = 4000, (2, 3), {"a": (4, 0), "b": (3, 5)}


def rows(seed: int = 0):
    """Latents that are linear in both prompts plus noise; a third of each prompt is absent, and
    zero there."""
    source = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=source)
    mask = torch.ones(ROWS, 1, dtype=torch.bool)
    prompts = {
        n: PromptEncoding(draw(ROWS, e), draw(ROWS, 1, 2), mask, draw(ROWS, k) if k else None)
        for n, (e, k) in WIDTHS.items()
    }
    linear = torch.randn(4 + 8, 6, generator=torch.Generator().manual_seed(9))
    features = torch.cat([prompts["a"].embeds, prompts["b"].embeds, prompts["b"].latents], dim=1)
    latents = (features @ linear + 2 + 0.1 * draw(ROWS, 6)).view(ROWS, *SHAPE)
    available = torch.rand(ROWS, 2, generator=source) > 1 / 3
    for j, n in enumerate(WIDTHS):
        prompts[n] = prompts[n].map(
            lambda x, j=j: x * available[:, j].view(-1, *[1] * (x.ndim - 1)).to(x)
        )
    return latents, prompts, available, linear


def batches(seed: int = 0, size: int = 700):
    latents, prompts, available, _ = rows(seed)
    for start in range(0, ROWS, size):
        part = slice(start, start + size)
        yield latents[part], {n: e[part] for n, e in prompts.items()}, available[part]
