"""Coupling of jointly generated outputs: environment codes of the others, as one masked token sequence.

Legend: B batch, K_j tokens of output j, E environment width.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class JointState:
    """One member of a joint generation: `latents` (B, ...), `noise_level` (B,) in [0, 1], `present` (B,) bool."""

    latents: torch.Tensor
    noise_level: torch.Tensor
    present: torch.Tensor


def environment_codes(environments: nn.ModuleDict, states: dict[str, JointState]) -> dict[str, torch.Tensor]:
    """V_j(z_j, t_j) for every member: name -> (B, K_j, E)."""
    return {name: environments[name](state.latents, state.noise_level) for name, state in states.items()}


def coupling_for(
    output: str, codes: dict[str, torch.Tensor], states: dict[str, JointState]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The OTHER members' codes (B, K, E) and their mask (B, K); (None, None) when `output` is alone."""
    others = [name for name in codes if name != output]
    if not others:
        return None, None
    tokens = torch.cat([codes[name] for name in others], dim=1)
    mask = torch.cat([states[n].present[:, None].expand(-1, codes[n].shape[1]) for n in others], dim=1)
    return tokens, mask
