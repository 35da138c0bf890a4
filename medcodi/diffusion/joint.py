"""Joint generation (MedCoDi-M section 2.3): one step of several latent diffusion models that see
each other. Stage 3 trains it; sampling and memory estimates run it.

Legend: B batch, P prompts of an output, K_j tokens of member j, E environment width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from medcodi.diffusion.ldm import Context, LatentDiffusion, Partners
from medcodi.diffusion.objective import Objective
from medcodi.encoders.base import PromptEncoding


@dataclass
class Prompts:
    """What is given, B rows of it. `encodings[name]` stand in the contexts; `given[name]` (B,) bool
    says which rows really have the value; `clean[name]` (B, *latent_shape) are latents of given
    values that condition through the environment encoders, too, at noise level 0. `weights` are
    alpha of fusion mean."""

    encodings: dict[str, PromptEncoding] = field(default_factory=dict)
    given: dict[str, torch.Tensor] = field(default_factory=dict)
    clean: dict[str, torch.Tensor] = field(default_factory=dict)
    weights: dict[str, float] | None = None

    def __getitem__(self, rows: torch.Tensor) -> "Prompts":
        return Prompts(
            {n: e[rows] for n, e in self.encodings.items()},
            {n: g[rows] for n, g in self.given.items()},
            {n: x[rows] for n, x in self.clean.items()},
            self.weights,
        )


@dataclass
class JointState:
    """One member of a joint generation: `latents` (B, *latent_shape), z_t of the rows that generate
    it (`noisy`, (B,) bool) and z_0 of the rows that are given it (`clean`, (B,) bool), at
    `timesteps` (B,) and `noise_level` (B,) in [0, 1], 0 where clean. Rows that are neither hold
    anything."""

    latents: torch.Tensor
    timesteps: torch.Tensor
    noise_level: torch.Tensor
    noisy: torch.Tensor
    clean: torch.Tensor

    @property
    def present(self) -> torch.Tensor:
        """(B,) bool: rows in which the other members see it."""
        return self.noisy | self.clean


class JointModel(nn.Module):
    """Latent diffusion models of several outputs, and the environment encoders V_j of all members.

        contexts = joint.contexts(prompts, rows, device)             # once
        states = {name: joint.noisy_state(z_t, t), ...} | joint.clean_states(prompts)
        predictions = joint(states, contexts)                        # at every step

    Without `environments` the outputs are generated independently.
    """

    def __init__(
        self,
        diffusions: Mapping[str, LatentDiffusion],
        environments: nn.ModuleDict | None,
        objective: Objective,
    ) -> None:
        super().__init__()
        # in this order: the norm of all gradients is a sum, which rounds by it
        self.environments, self.diffusions = environments, nn.ModuleDict(diffusions)
        self.objective = objective

    def contexts(
        self, prompts: Prompts, rows: int, device: torch.device, null: Prompts | None = None
    ) -> dict[str, Context]:
        """The context of each output, the same at every step: `rows` rows of it, or with `null`
        twice as many, [null, prompts]. `Prompts()` is null without a prompt."""
        parts = [prompts] if null is None else [null, prompts]
        found = {}
        for name, model in self.diffusions.items():
            columns = model.fusion.names
            keep = torch.zeros(len(parts) * rows, len(columns), dtype=torch.bool, device=device)
            encodings = {}
            for column, n in enumerate(columns):
                like = next((p.encodings[n] for p in parts if n in p.encodings), None)
                if like is None:
                    continue
                # rows without it hold anything: they are masked
                encodings[n] = PromptEncoding.concat([p.encodings.get(n, like) for p in parts])
                absent = torch.zeros(rows, dtype=torch.bool, device=device)
                keep[:, column] = torch.cat(
                    [p.given[n] if n in p.encodings else absent for p in parts]
                )
            found[name] = model.context(encodings, keep, prompts.weights)
        return found

    def noisy_state(self, latents: torch.Tensor, timesteps: torch.Tensor) -> JointState:
        """A member that all rows generate: z_t (B, *latent_shape), timesteps (B,)."""
        everywhere = torch.ones(len(latents), dtype=torch.bool, device=latents.device)
        level = self.objective.noise_level(timesteps)
        return JointState(latents, timesteps, level, everywhere, ~everywhere)

    def clean_states(self, prompts: Prompts) -> dict[str, JointState]:
        """Members that are given, at noise level 0: they and their codes stay the same."""
        states = {}
        for name, latents in prompts.clean.items():
            zero = torch.zeros(len(latents), device=latents.device)
            given = prompts.given[name]
            states[name] = JointState(latents, zero, zero, torch.zeros_like(given), given)
        return states

    def codes(self, states: Mapping[str, JointState]) -> dict[str, torch.Tensor]:
        """V_j(z_j, t_j) of every member: name -> (B, K_j, E). Empty without environments."""
        if self.environments is None:
            return {}
        return {n: self.environments[n](s.latents, s.noise_level) for n, s in states.items()}

    def partners(
        self,
        states: Mapping[str, JointState],
        contexts: Mapping[str, Context],
        codes: Mapping[str, torch.Tensor] | None = None,
    ) -> dict[str, Partners]:
        """What the OTHER members tell each output that is among the members: empty when outputs are
        independent, or one is alone. `codes` of the members, where they are at hand."""
        if self.environments is None or len(states) < 2:
            return {}
        codes = self.codes(states) if codes is None else codes
        outputs = {name: m for name, m in self.diffusions.items() if name in states}
        found = {}
        for output, model in outputs.items():
            others = [name for name in states if name != output]
            mask = lambda flag, others=others: torch.cat(
                [flag(states[n])[:, None].expand(-1, codes[n].shape[1]) for n in others], dim=1
            )
            found[output] = Partners(
                torch.cat([codes[n] for n in others], dim=1),  # (B, K, E)
                mask(lambda state: state.noisy),
                mask(lambda state: state.clean),
            )
            if model.partner_mean is not None:
                context, present = contexts[output], {n: states[n].present for n in others}
                found[output].innovation = model.partner_mean(
                    context.tokens, context.mask, {n: codes[n] for n in others}, present
                )
        return found

    def forward(
        self, states: Mapping[str, JointState], contexts: Mapping[str, Context]
    ) -> dict[str, torch.Tensor]:
        """One step: the prediction of every output, shaped as its latents."""
        partners = self.partners(states, contexts)
        return {
            name: model(
                states[name].latents, states[name].timesteps, contexts[name], partners.get(name)
            )
            for name, model in self.diffusions.items()
            if name in states
        }
