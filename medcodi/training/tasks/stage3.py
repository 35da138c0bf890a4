"""Stage 3: joint generation by cross-modal alignment (MedCoDi-M section 2.3).

Roles of a row: every present modality is noisy (to be generated), clean (given, at noise level 0)
or out. Number of outputs, given values and missing data are one mechanism.
Legend: B batch, M modalities.
"""

import itertools
import logging
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F

from medcodi.diffusion.joint import JointModel, JointState, Prompts
from medcodi.diffusion.ldm import Context, Partners
from medcodi.diffusion.multiprompt import draw_subsets
from medcodi.diffusion.objective import NoisySample, expand_as
from medcodi.encoders.contrastive import gather_rows, infonce
from medcodi.modalities.family import seeded
from medcodi.nn.precision import autocast
from medcodi.nn.weights import save_module
from medcodi.training import identity
from medcodi.training.cached import CachedBatch, CachedStudies
from medcodi.training.draws import Draws
from medcodi.training.run import Run, frozen
from medcodi.training.task import Task
from medcodi.training.tasks.paired import PAIRED_ROWS, paired_partners, table

logger = logging.getLogger(__name__)


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


def member(
    latents: torch.Tensor, sample: NoisySample, noisy: torch.Tensor, clean: torch.Tensor
) -> JointState:
    """The member of a joint generation that holds z_t where a row is `noisy`, and z_0 at noise
    level 0 where it is `clean` ((B,) bool each)."""
    mixed = torch.where(expand_as(clean, latents), latents, sample.latents)
    level = sample.noise_level.masked_fill(clean, 0.0)
    return JointState(mixed, sample.timesteps, level, noisy, clean)


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
                for parameter in diffusion.coupling_parameters():
                    parameter.requires_grad_(True)
                diffusions[name] = diffusion
            environments = run.family.build_environments()
        self.joint = JointModel(diffusions, environments, self.objective)

    def dependencies(self) -> dict[str, Any]:
        return identity.of_stage3(self.run)

    def dataset(self, split: str) -> CachedStudies:
        return CachedStudies(self.run, split, self.names, self.names, least=2, device=self.device)

    def draw_timesteps(self, draws: Draws, device: torch.device) -> torch.Tensor:
        """(B, M): one timestep for all members with probability 1 - p, one each with p."""
        tied, free = draws.uniform().to(device), draws.uniform(len(self.names)).to(device)
        independent = draws.uniform().to(device) < self.config.independent_timestep_probability
        uniform = torch.where(independent[:, None], free, tied[:, None])  # (B, M)
        return self.objective.timesteps(uniform)

    def forward(self, batch: CachedBatch, draws: Draws, progress: float) -> dict[str, torch.Tensor]:
        config, device = self.config, self.device
        present = torch.stack([batch.present[n] for n in self.names], dim=1)
        roles = draw_roles(present, draws, config.clean_probability, config.null_prompt_probability)
        timesteps = self.draw_timesteps(draws, device)
        samples, states = {}, {}
        for j, name in enumerate(self.names):
            shape = self.run.family.latent_shape(self.run.family.modality(name).group)
            noise = draws.normal(*shape).to(device)
            if name in batch.latents:
                latents = batch.latents[name]
                samples[name] = self.objective.sample(latents, noise, timesteps[:, j])
                states[name] = member(latents, samples[name], roles.noisy[:, j], roles.clean[:, j])
        contexts = self._contexts(batch, roles)
        codes = self.joint.codes(states)
        partners = self.joint.partners(states, contexts, codes)
        losses = {}
        for name, state in states.items():
            rows, told = state.noisy.nonzero().squeeze(1), partners.get(name)  # (R,)
            own, latents = contexts[name], batch.latents[name]
            losses[name] = self._output_loss(name, samples[name], own, told, rows)
            if told is not None and told.innovation is not None and self.config.partner_mean:
                mean = (own.mean + told.innovation)[rows].float()
                errors = (mean - latents[rows]).square().flatten(1).mean(dim=1)
                losses[f"{name}/mean"] = self._mean_over_rows(errors)
        total = sum(losses.values())
        if config.environment_contrast_weight > 0:
            contrast = self._environment_contrast(codes, states)
            losses["environment_contrast"] = contrast
            total = total + config.environment_contrast_weight * contrast
        return {"loss": total, **{k: v.detach() for k, v in losses.items()}}

    @torch.no_grad()
    def _contexts(self, batch: CachedBatch, roles: Roles) -> dict[str, Context]:
        """The prompts of every output; their networks are frozen."""
        given = {name: roles.prompts[:, self.names.index(name)] for name in batch.encodings}
        return self.joint.contexts(Prompts(batch.encodings, given), len(batch), self.device)

    def _output_loss(
        self,
        name: str,
        sample: NoisySample,
        context: Context,
        partners: Partners | None,
        rows: torch.Tensor,
    ) -> torch.Tensor:
        """Mean loss of an output over the `rows` (of all processes) in which it is generated."""
        model = self.joint.diffusions[name]
        if len(rows) == 0:
            nothing = sum(p.sum() for p in model.coupling_parameters()) * 0.0
            return self._mean_over_rows(nothing.new_zeros(0)) + nothing
        told = None if partners is None else partners[rows]
        generated = sample[rows]
        prediction = model(generated.latents, generated.timesteps, context[rows], told)
        return self._mean_over_rows(generated.losses(prediction))

    def _mean_over_rows(self, losses: torch.Tensor) -> torch.Tensor:
        """Losses of rows (R,), also none -> their mean over the rows of all processes."""
        count, world = torch.tensor(float(len(losses)), device=self.device), 1
        # validation is the same on every process
        if self.training and dist.is_available() and dist.is_initialized():
            dist.all_reduce(count)
            world = dist.get_world_size()
        return losses.sum() * world / count.clamp(min=1)

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
        stage, data = self.run.recipe.stage3, self.dataset("validation")
        found: dict[str, Any] = {"validation": self.validate(data, stage, self.run.recipe.seed)}
        if stage.paired_validation:
            with autocast(self.device, stage.mixed_precision):
                found["paired"] = paired_partners(self.joint, data, PAIRED_ROWS, self.device)
            for name, row in found["paired"].items():
                logger.info("%s, %s with its partners\n%s", self.label, name, table(row))
        return found

    def export(self, folder: Any, config: dict[str, Any]) -> None:
        """All coupled denoisers and environment encoders (the frozen weights are those of stage 2,
        bit for bit)."""
        save_module(self.joint, folder, config)
