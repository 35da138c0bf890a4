"""Coupling of jointly generated outputs: environment codes of the others, as one masked token
sequence, and what the others add to the estimate of each in closed form.

Legend: B batch, K_j tokens of output j, E environment width.
"""

from dataclasses import dataclass

import torch
from torch import nn

from medcodi.diffusion.closed_form.linear_coupling import Partner
from medcodi.diffusion.ldm import Condition, LatentDiffusion
from medcodi.diffusion.objective import expand_as


@dataclass
class JointState:
    """One member of a joint generation: `latents` (B, ...), `noise_level` (B,) in [0, 1], `present`
    (B,) bool."""

    latents: torch.Tensor
    noise_level: torch.Tensor
    present: torch.Tensor


def environment_codes(
    environments: nn.ModuleDict, states: dict[str, JointState]
) -> dict[str, torch.Tensor]:
    """V_j(z_j, t_j) for every member: name -> (B, K_j, E)."""
    return {
        name: environments[name](state.latents, state.noise_level) for name, state in states.items()
    }


def coupling_for(
    output: str, codes: dict[str, torch.Tensor], states: dict[str, JointState]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The OTHER members' codes (B, K, E) and their mask (B, K); (None, None) when `output` is
    alone."""
    others = [name for name in codes if name != output]
    if not others:
        return None, None
    tokens = torch.cat([codes[name] for name in others], dim=1)
    mask = torch.cat(
        [states[n].present[:, None].expand(-1, codes[n].shape[1]) for n in others], dim=1
    )
    return tokens, mask


def innovations(
    models: dict[str, LatentDiffusion],
    states: dict[str, JointState],
    timesteps: dict[str, torch.Tensor],
    conditions: dict[str, Condition],
) -> dict[str, torch.Tensor]:
    """What the noisy latents of the other outputs add to the estimate of each output
    (linear_coupling.py); empty without the closed form. `states`, `timesteps` (B,) and `conditions`
    of every output; `present` says which rows generate it."""
    if len(models) < 2 or any(m.linear_coupling is None for m in models.values()):
        return {}
    shown, added = {}, {}
    for name, model in models.items():
        alpha, sigma = model.objective.alpha_sigma(timesteps[name])
        residual = (
            states[name].latents - expand_as(alpha, states[name].latents) * conditions[name].mean
        )
        shown[name] = Partner(residual, alpha, sigma, states[name].present)
    for name, model in models.items():
        linear, columns, kept = model.linear_coupling, model.fusion.names, conditions[name].keep
        given = [
            kept[:, columns.index(n)] if n in columns else torch.zeros_like(kept[:, 0])
            for n in linear.names
        ]
        added[name] = linear(shown, torch.stack(given, dim=1))
    return added
