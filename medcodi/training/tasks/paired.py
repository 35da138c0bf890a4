"""What a denoiser learned of its prompts or its partners, without sampling noise: losses on all
validation rows at fixed noise levels, with the same noise for everything that is compared.

gain(S) = loss without prompts - loss with S, over the rows that have all of S; in stage 3 without
partners - with partners. What the network does not follow has gain 0 at every level.
Legend: B batch, P prompts, K = 8 noise levels.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from medcodi.diffusion.joint import JointModel, JointState, Prompts
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.diffusion.objective import NoisySample, Objective
from medcodi.nn.seeding import derive_generator
from medcodi.training.task import to_device

# Shares of the timesteps, fixed for ever: figures of different runs can be compared.
TIMES = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98)
PAIRED_ROWS = 64  # at once: noise is drawn by batch, so the figures depend on it a little


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
    keeps = torch.tensor(  # (2^P, P)
        [[p in s for p in prompts] for s in chosen], dtype=torch.bool, device=device
    )
    none = torch.zeros(len(TIMES), dtype=torch.float64)
    gains = torch.zeros(len(chosen), len(TIMES), dtype=torch.float64)
    counts = torch.zeros(len(chosen), dtype=torch.float64)
    for start in range(0, len(data), batch_size):
        rows = list(range(start, min(start + batch_size, len(data))))
        batch = to_device(data[rows], device)
        latents = batch.latents[name]
        available = batch.available(prompts)
        contexts = [diffusion.context(batch.encodings, keep & available) for keep in keeps]
        able = torch.stack([(available | ~keep).all(dim=1) for keep in keeps]).double().cpu()
        counts += able.sum(dim=1)
        generator = derive_generator(name, "paired", start)
        for level, time in enumerate(TIMES):
            noisy = _sample(objective, latents, time, generator)
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


def _sample(
    objective: Objective, latents: torch.Tensor, time: float, generator: torch.Generator
) -> NoisySample:
    """All rows at one share of the timesteps."""
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    step = float(round(time * objective.num_train_timesteps))
    return objective.sample(latents, noise, torch.full_like(latents[:, 0].flatten(1)[:, 0], step))


@torch.no_grad()
def paired_partners(
    joint: JointModel, data: Any, batch_size: int, device: torch.device
) -> dict[str, dict[str, Any]]:
    """Of every output of a joint model, without prompts, on all rows that have it and a partner.

    Returns for each name its `rows`, `times` (K), `none` (K), the loss without partners, and for
    the settings "noisy" (all others at the same level) and "clean" (all others given) a `gain` (K)
    and its `mean`, as `paired_losses` does for prompts.
    """
    sums = {n: torch.zeros(3, len(TIMES), dtype=torch.float64) for n in joint.diffusions}
    rows = dict.fromkeys(joint.diffusions, 0)
    for start in range(0, len(data), batch_size):
        batch = to_device(data[list(range(start, min(start + batch_size, len(data))))], device)
        names = [n for n in joint.diffusions if n in batch.latents]
        others = {n: sum(batch.present[m].long() for m in names if m != n) for n in names}
        able = {n: batch.present[n] & (others[n] > 0) for n in names}
        contexts = joint.contexts(Prompts(), len(batch), device)
        generator = derive_generator("paired partners", start)
        for n in names:
            rows[n] += int(able[n].sum())
        for level, time in enumerate(TIMES):
            samples = {
                n: _sample(joint.objective, batch.latents[n], time, generator) for n in names
            }
            states = {n: joint.noisy_state(s.latents, s.timesteps) for n, s in samples.items()}
            for n, state in states.items():
                state.noisy = batch.present[n]
            given = {n: _given(batch.latents[n], batch.present[n]) for n in names}
            for n in names:
                told = (
                    None,
                    joint.partners(states, contexts)[n],
                    joint.partners({**given, n: states[n]}, contexts)[n],
                )
                for setting, partners in enumerate(told):
                    out = joint.diffusions[n](
                        samples[n].latents, samples[n].timesteps, contexts[n], partners
                    )
                    losses = samples[n].losses(out).double().cpu()
                    sums[n][setting, level] += losses[able[n].cpu()].sum()
    return {n: _of_output(sums[n] / max(rows[n], 1), rows[n]) for n in sums}


def _given(latents: torch.Tensor, present: torch.Tensor) -> JointState:
    """A member that is given where it is present, at noise level 0."""
    zero = torch.zeros(len(latents), device=latents.device)
    return JointState(latents, zero, zero, torch.zeros_like(present), present)


def _of_output(losses: torch.Tensor, rows: int) -> dict[str, Any]:
    """`losses` (3, K): without partners, with noisy ones, with clean ones."""
    found: dict[str, Any] = {"rows": rows, "times": list(TIMES), "none": losses[0].tolist()}
    for setting, row in zip(("noisy", "clean"), losses[1:], strict=True):
        gain = losses[0] - row
        found[setting] = {"rows": rows, "mean": float(gain.mean()), "gain": gain.tolist()}
    return found


def table(found: dict[str, Any]) -> str:
    """The gains as lines of text: a subset or a setting a line, a noise level a column."""
    lines = ["share of the timesteps  " + " ".join(f"{t:7.2f}" for t in found["times"])]
    lines.append(f"{'loss without':24}" + " ".join(f"{x:7.4f}" for x in found["none"]))
    for name, row in found.items():
        if isinstance(row, dict):
            gains = " ".join(f"{x:7.4f}" for x in row["gain"])
            lines.append(f"{'gain of ' + name:24}{gains}  ({row['rows']} rows)")
    return "\n".join(lines)
