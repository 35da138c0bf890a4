"""Stage 3: joint generation by cross-modal alignment (MedCoDi-M section 2.3).

Roles of a row: every present modality is noisy (to be generated), clean (given, at noise level 0)
or out. Number of outputs, given values and missing data are one mechanism.
Legend: B batch, M modalities.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from medcodi.diffusion.closed_form.linear_coupling import Latents
from medcodi.diffusion.coupling import JointState, coupling_for, environment_codes, innovations
from medcodi.diffusion.ldm import Condition
from medcodi.diffusion.multiprompt import draw_subsets
from medcodi.encoders.contrastive import gather_rows, infonce
from medcodi.modalities.family import seeded
from medcodi.nn.weights import save_module
from medcodi.training.cached import CachedBatch, CachedStudies
from medcodi.training.draws import Draws
from medcodi.training.run import Run, frozen
from medcodi.training.task import Task, to_device

CHUNK = 512  # rows of one step of the closed form


@dataclass
class Roles:
    """(B, M) bool each; `prompts` is what may stand in the context of the row's outputs."""

    noisy: torch.Tensor
    clean: torch.Tensor
    prompts: torch.Tensor


def draw_roles(
    present: torch.Tensor, draws: Draws, clean_probability: float, null_probability: float
) -> Roles:
    """Draw the joint set G (any |G| from 2 to all), who in it is clean, and the prompts.

    A row needs two present modalities to couple; at least one member of G stays noisy. Prompts are
    a random subset of the modalities that are not generated, never an output.
    """
    device, count = present.device, present.shape[1]
    order = (
        draws.uniform(count).to(device).masked_fill(~present, 2.0).argsort(dim=1).argsort(dim=1)
    )  # (B, M) rank
    available = present.sum(dim=1)
    sizes = 2 + (draws.uniform().to(device) * (available - 1)).floor().clamp(
        min=0
    )  # |G| uniform over 2 .. n
    joint = present & (order < sizes[:, None]) & (available >= 2)[:, None]
    clean = (
        joint & (draws.uniform(count).to(device) < clean_probability) & (order > 0)
    )  # rank 0 stays noisy
    noisy = joint & ~clean
    outside = present & ~noisy
    prompts = draw_subsets(outside, draws.uniform().to(device))
    prompts = prompts & (draws.uniform().to(device) >= null_probability)[:, None]
    return Roles(noisy, clean, prompts)


class Stage3Task(Task):
    """CachedBatch -> sum of the per-modality losses (eq. 3). Trains the V_j and the cross-modal
    attention only."""

    label = "stage3"
    find_unused_parameters = True

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run, self.names = run, run.family.names
        self.objective, self.config = run.family.objective, run.recipe.diffusion
        diffusions = {}
        with seeded(run.recipe.seed):
            for name in self.names:
                diffusion = frozen(run.diffusion(name))
                run.family.couple(diffusion, name)
                for parameter in diffusion.denoiser.coupling_parameters():
                    parameter.requires_grad_(True)
                diffusions[name] = diffusion
            self.environments = run.family.build_environments()
        self.diffusions = nn.ModuleDict(diffusions)

    def begin(self) -> None:
        """The linear coupling, in closed form from the cache; nothing here is random."""
        if not self.config.linear_denoiser:
            return
        data = self.dataset("train")

        def batches() -> Iterator[Latents]:
            for start in range(0, len(data), CHUNK):
                batch = to_device(
                    data[list(range(start, min(start + CHUNK, len(data))))], self.device
                )
                yield {n: (latents, batch.present[n]) for n, latents in batch.latents.items()}

        first, *others = (model.linear_coupling for model in self.diffusions.values())
        first.fit(batches)
        for other in others:
            other.copy_from(first)

    def dependencies(self) -> Any:
        parts = self.run.family.fingerprint("denoiser", "environment")
        return [parts, {n: self.run.hash(f"stage2/{n}") for n in self.names}]

    def dataset(self, split: str) -> CachedStudies:
        return CachedStudies(self.run, split, self.names, self.names, least=2, device=self.device)

    def draw_timesteps(self, draws: Draws, device: torch.device) -> torch.Tensor:
        """(B, M): one timestep for all members with probability 1 - p, one each with probability p."""
        tied, free = draws.uniform().to(device), draws.uniform(len(self.names)).to(device)
        independent = draws.uniform().to(device) < self.config.independent_timestep_probability
        uniform = torch.where(independent[:, None], free, tied[:, None])  # (B, M)
        return self.objective.timesteps(uniform)

    def forward(self, batch: CachedBatch, draws: Draws, progress: float) -> dict[str, torch.Tensor]:
        config, device = self.config, self.device
        present = torch.stack([batch.present[n] for n in self.names], dim=1)
        roles = draw_roles(present, draws, config.clean_probability, config.null_prompt_probability)
        timesteps = self.draw_timesteps(draws, device)
        noise, states = {}, {}
        for j, name in enumerate(self.names):
            shape = self.run.family.latent_shape(self.run.family.modality(name).group)
            noise[name] = draws.normal(*shape).to(device)
            if name not in batch.latents:
                continue
            latents, clean = batch.latents[name], roles.clean[:, j]
            noisy = self.objective.add_noise(latents, noise[name], timesteps[:, j])
            level = self.objective.noise_level(timesteps[:, j]).masked_fill(clean, 0.0)
            mixed = torch.where(clean.view(-1, *([1] * (latents.ndim - 1))), latents, noisy)
            states[name] = JointState(mixed, level, roles.noisy[:, j] | clean)
        codes = environment_codes(self.environments, states)
        conditions = {name: self._condition(name, batch, roles) for name in states}
        added = self._innovations(roles, timesteps, states, conditions)
        losses = {}
        for j, name in enumerate(self.names):
            if name in states:
                joint = (conditions[name], codes, states, added.get(name))
                losses[name] = self._output_loss(
                    name, j, batch, roles, timesteps[:, j], noise[name], *joint
                )
        total = sum(losses.values())
        if config.environment_contrast_weight > 0:
            contrast = self._environment_contrast(codes, states)
            losses["environment_contrast"] = contrast
            total = total + config.environment_contrast_weight * contrast
        return {"loss": total, **{k: v.detach() for k, v in losses.items()}}

    @torch.no_grad()
    def _condition(self, name: str, batch: CachedBatch, roles: Roles) -> Condition:
        """The clean prompts of one output; their networks are frozen."""
        names = self.diffusions[name].fusion.names
        keep = roles.prompts[:, [self.names.index(n) for n in names]]
        return self.diffusions[name].condition(
            {n: batch.encodings[n] for n in names if n in batch.encodings}, keep
        )

    @torch.no_grad()
    def _innovations(
        self,
        roles: Roles,
        timesteps: torch.Tensor,
        states: dict[str, JointState],
        conditions: dict[str, Condition],
    ) -> dict[str, torch.Tensor]:
        """What the noisy partners add to each output (closed form, nothing to train)."""
        column = {n: self.names.index(n) for n in states}
        noisy = {
            n: JointState(s.latents, s.noise_level, roles.noisy[:, column[n]])
            for n, s in states.items()
        }
        models = {n: self.diffusions[n] for n in states}
        return innovations(
            models, noisy, {n: timesteps[:, j] for n, j in column.items()}, conditions
        )

    def _output_loss(
        self,
        name: str,
        j: int,
        batch: CachedBatch,
        roles: Roles,
        timesteps: torch.Tensor,
        noise: torch.Tensor,
        condition: Condition,
        codes: dict[str, torch.Tensor],
        states: dict[str, JointState],
        added: torch.Tensor | None,
    ) -> torch.Tensor:
        """Mean squared error over the rows (of all processes) in which this modality is generated."""
        rows = roles.noisy[:, j].nonzero().squeeze(1)  # (R,)
        model = self.diffusions[name]
        count = torch.tensor(float(len(rows)), device=self.device)
        world = 1
        if (
            self.training and dist.is_available() and dist.is_initialized()
        ):  # validation is the same on every process
            dist.all_reduce(count)
            world = dist.get_world_size()
        if len(rows) == 0:
            return sum(p.sum() for p in model.denoiser.coupling_parameters()) * 0.0
        coupling, mask = coupling_for(name, codes, states)
        prediction = model(
            states[name].latents[rows],
            timesteps[rows],
            condition[rows],
            None if coupling is None else coupling[rows],
            None if mask is None else mask[rows],
            None if added is None else added[rows],
        )
        target = self.objective.target(batch.latents[name][rows], noise[rows], timesteps[rows])
        error = (prediction.float() - target).square().flatten(1).mean(dim=1)
        return (self.objective.weight(timesteps[rows]) * error).sum() * world / count

    def _environment_contrast(
        self, codes: dict[str, torch.Tensor], states: dict[str, JointState]
    ) -> torch.Tensor:
        """Optional InfoNCE between pooled environment codes of the members of a row."""
        losses, says = [], []
        for a, b in itertools.combinations(codes, 2):
            both = gather_rows((states[a].present & states[b].present).float()).bool()
            pooled = [gather_rows(F.normalize(codes[n].mean(dim=1), dim=-1)) for n in (a, b)]
            own = torch.eye(len(both), dtype=torch.bool, device=self.device)
            losses.append(
                infonce(*pooled, 1 / self.config.environment_contrast_temperature, own, both)
            )
            says.append(both.sum() >= 2)
        if not losses:
            return next(iter(codes.values())).sum() * 0.0
        return (torch.stack(losses) * torch.stack(says)).sum() / torch.stack(says).sum().clamp(
            min=1
        )

    def finalize(self) -> dict[str, Any]:
        return {"validation": self.validate(self.run.recipe.stage3, self.run.recipe.seed)}

    def export(self, folder: Any, config: dict[str, Any]) -> None:
        """All coupled denoisers and environment encoders (the frozen weights are those of stage 2,
        bit for bit)."""
        save_module(
            nn.ModuleDict({"diffusions": self.diffusions, "environments": self.environments}),
            folder,
            config,
        )
