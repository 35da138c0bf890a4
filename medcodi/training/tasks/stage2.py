"""Stage 2: one latent diffusion model a modality, multi-prompt (MedCoDi-M section 2.2)."""

import logging
from pathlib import Path
from typing import Any

import torch

from medcodi.config_io import for_modality
from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.diffusion.multiprompt import draw_subsets
from medcodi.diffusion.sampler import joint_sample
from medcodi.modalities.family import seeded
from medcodi.modalities.sheet import contact_sheet
from medcodi.nn.precision import autocast
from medcodi.nn.weights import save_module
from medcodi.training import identity
from medcodi.training.cached import CachedBatch, CachedStudies
from medcodi.training.draws import Draws
from medcodi.training.run import Run
from medcodi.training.task import Task, to_device
from medcodi.training.tasks.paired import PAIRED_ROWS, paired_losses, table

logger = logging.getLogger(__name__)

PREVIEW_ROWS, PREVIEW_STEPS = 8, 25


class Stage2Task(Task):
    """CachedBatch -> L = || target - f_theta(z_t, t, c) ||^2 (eq. 2). Trains fusion and denoiser of
    one output."""

    accumulation_changes = ""  # a mean over rows, whose draws are their own

    def __init__(self, run: Run, name: str) -> None:
        super().__init__()
        modality = run.family.modality(name)
        self.run, self.name, self.label = run, name, f"stage2/{name}"
        self.objective, self.config = run.family.objective, run.recipe.diffusion
        # the mean is trained alone at first
        self.find_unused_parameters = self.config.prompt_mean and self.config.prompt_mean_share > 0
        own = modality.args.null_prompt_probability
        self.null_probability = self.config.null_prompt_probability if own is None else own
        run.check_reconstruction(modality.group)
        with seeded(run.recipe.seed):
            self.diffusion = self.network()

    def network(self) -> LatentDiffusion:
        """What is trained, as it begins."""
        return self.run.family.build_diffusion(self.name)

    def dependencies(self) -> dict[str, Any]:
        return identity.of_stage2(self.run, self.name)

    def dataset(self, split: str) -> CachedStudies:
        return CachedStudies(
            self.run, split, [self.name], self.diffusion.fusion.names, device=self.device
        )

    def patients(self, split: str) -> list[str]:
        owners = self.run.data(split, [self.name]).patient_ids
        return [owners[study] for study in self.dataset(split).studies]

    def draw_prompts(self, batch: CachedBatch, draws: Draws) -> torch.Tensor:
        """Which prompts each row keeps, (B, P) bool; none with probability `null_probability`."""
        available = batch.available(self.diffusion.fusion.names)
        uniform, null = draws.uniform().to(available.device), draws.uniform().to(available.device)
        keep = draw_subsets(available, uniform, self.config.multi_prompt)
        return keep & (null >= self.null_probability)[:, None]

    def forward(self, batch: CachedBatch, draws: Draws, progress: float) -> dict[str, torch.Tensor]:
        latents = batch.latents[self.name]
        timesteps = self.objective.timesteps(draws.uniform().to(latents.device))
        noise = draws.normal(*latents.shape[1:]).to(latents)
        keep = self.draw_prompts(batch, draws)
        context = self.diffusion.context(batch.encodings, keep)
        losses = {}
        if context.mean is not None:
            losses["mean"] = (context.mean.float() - latents).square().mean()
        if context.mean is None or progress >= self.config.prompt_mean_share:
            noisy = self.objective.sample(latents, noise, timesteps)
            prediction = self.diffusion(noisy.latents, timesteps, context)
            losses["denoising"] = noisy.losses(prediction).mean()
        return {"loss": sum(losses.values()), **{k: v.detach() for k, v in losses.items()}}

    def preview(self, folder: Path, step: int) -> None:
        """Real validation rows above samples prompted by all their other modalities."""
        data = self.dataset("validation")
        batch = to_device(data[list(range(min(PREVIEW_ROWS, len(data))))], self.device)
        modality = self.run.family.modality(self.name)
        autoencoder = self.run.autoencoder(modality.group).to(self.device)
        real = batch.latents[self.name]
        generator = torch.Generator().manual_seed(self.run.recipe.seed)
        prompts = Prompts(batch.encodings, {n: batch.present[n] for n in batch.encodings})
        sampled = joint_sample(
            JointModel({self.name: self.diffusion}, None, self.objective),
            {self.name: self.objective.scheduler()},
            {self.name: torch.randn(real.shape, generator=generator).to(real)},
            prompts,
            {self.name: modality.args.guidance_scale},
            PREVIEW_STEPS,
        )[self.name]
        rows = [
            [modality.preview(v) for v in modality.to_previewable(autoencoder.decode(x))]
            for x in (real, sampled)
        ]
        contact_sheet(rows, ["real (decoded)", "generated"]).save(folder / f"step_{step}.png")

    def finalize(self) -> dict[str, Any]:
        stage, data = self.run.recipe.stage2, self.dataset("validation")
        found: dict[str, Any] = {"validation": self.validate(data, stage, self.run.recipe.seed)}
        own = for_modality(stage, self.name)
        if own.paired_validation:
            with autocast(self.device, own.mixed_precision):
                found["paired"] = paired_losses(
                    self.diffusion, self.name, data, PAIRED_ROWS, self.device
                )
            logger.info("%s, paired losses\n%s", self.label, table(found["paired"]))
        return found

    def export(self, folder: Path, config: dict[str, Any]) -> None:
        save_module(self.diffusion, folder, config)
