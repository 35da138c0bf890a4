"""What a denoiser learned of its prompts, without sampling noise: losses on all validation rows at
fixed noise levels, with the same noise for every subset of the prompts.

gain(S) = loss without prompts - loss with S, over the rows that have all of S. A prompt that the
network does not follow has gain 0 at every level.
Legend: B batch, P prompts, K = 8 noise levels.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.nn.seeding import derive_generator
from medcodi.training.task import to_device

# Shares of the timesteps, fixed for ever: figures of different runs can be compared.
TIMES = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98)


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The empty set, single prompts, pairs, ..., all."""
    sizes = range(len(names) + 1)
    return [s for size in sizes for s in itertools.combinations(names, size)]


@torch.no_grad()
def paired_losses(
    diffusion: LatentDiffusion, name: str, data: Any, batch_size: int, device: torch.device
) -> dict[str, Any]:
    """Of `diffusion`, which generates `name`, on all rows of `data` (CachedStudies).

    Returns `times` (K), `none` (K), the loss without prompts at each level, and for every subset,
    under its names joined by "+", its `rows`, its `gain` (K) at each level and their `mean`.
    """
    prompts, objective = diffusion.fusion.names, diffusion.objective
    chosen = subsets(prompts)
    keeps = torch.tensor([[p in s for p in prompts] for s in chosen], device=device)  # (2^P, P)
    none = torch.zeros(len(TIMES), dtype=torch.float64)
    gains = torch.zeros(len(chosen), len(TIMES), dtype=torch.float64)
    counts = torch.zeros(len(chosen), dtype=torch.float64)
    for start in range(0, len(data), batch_size):
        rows = list(range(start, min(start + batch_size, len(data))))
        batch = to_device(data[rows], device)
        latents = batch.latents[name]
        available = torch.stack([batch.present[p] for p in prompts], dim=1)  # (B, P)
        contexts = [diffusion.context(batch.encodings, keep & available) for keep in keeps]
        able = torch.stack([(available | ~keep).all(dim=1) for keep in keeps]).double().cpu()
        counts += able.sum(dim=1)
        generator = derive_generator(name, "paired", start)
        for level, time in enumerate(TIMES):
            noise = torch.randn(latents.shape, generator=generator).to(latents)
            step = float(round(time * objective.num_train_timesteps))
            timesteps = torch.full((len(latents),), step, device=device)
            noisy = objective.sample(latents, noise, timesteps)
            losses = torch.stack(
                [
                    noisy.losses(diffusion(noisy.latents, noisy.timesteps, context)).double().cpu()
                    for context in contexts
                ]
            )  # (2^P, B)
            none[level] += losses[0].sum()
            gains[:, level] += ((losses[0] - losses) * able).sum(dim=1)
    gains /= counts.clamp(min=1)[:, None]
    found: dict[str, Any] = {"times": list(TIMES), "none": (none / counts[0]).tolist()}
    for index, subset in enumerate(chosen[1:], 1):
        found["+".join(subset)] = {
            "rows": int(counts[index]),
            "mean": float(gains[index].mean()),
            "gain": gains[index].tolist(),
        }
    return found


def table(found: dict[str, Any]) -> str:
    """The gains as lines of text: a subset a line, a noise level a column."""
    lines = ["share of the timesteps  " + " ".join(f"{t:7.2f}" for t in found["times"])]
    lines.append(f"{'loss without prompts':24}" + " ".join(f"{x:7.4f}" for x in found["none"]))
    for name, row in found.items():
        if isinstance(row, dict):
            gains = " ".join(f"{x:7.4f}" for x in row["gain"])
            lines.append(f"{'gain of ' + name:24}{gains}  ({row['rows']} rows)")
    return "\n".join(lines)
