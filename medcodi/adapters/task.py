"""Stage 2 of adapters: the loss of stage 2, trained in low-rank adapters of one denoiser."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from medcodi.adapters.run import AdapterRun
from medcodi.config import Recipe
from medcodi.config_io import for_modality
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.files import staged
from medcodi.modalities.family import seeded
from medcodi.nn.adapters import adapter_state, add_adapters
from medcodi.nn.seeding import derive_seed
from medcodi.pipeline.lora import ADAPTER, ADAPTER_CONFIG
from medcodi.training.cached import CachedBatch
from medcodi.training.draws import Draws
from medcodi.training.identity import cache_key
from medcodi.training.loop import fit
from medcodi.training.tasks.stage2 import Stage2Task

NAME = "trained"  # of the adapter inside the network


class AdapterTask(Stage2Task):
    """Trains the adapters of one output; fusion, denoiser and prompt mean stay as the base has
    them."""

    run: AdapterRun

    def network(self) -> LatentDiffusion:
        diffusion, told = (
            self.run.diffusion(self.name),
            dataclasses.asdict(self.run.recipe.adapters),
        )
        diffusion.requires_grad_(False)
        told.pop("base")
        denoiser = diffusion.denoiser
        with seeded(derive_seed(self.run.recipe.seed, self.label)):
            add_adapters(denoiser, NAME, **told, without=denoiser.coupling_parameters())
        return diffusion

    def forward(self, batch: CachedBatch, draws: Draws, progress: float) -> dict[str, torch.Tensor]:
        return super().forward(batch, draws, 1.0)  # the prompt mean is the base's

    def dependencies(self) -> dict[str, Any]:
        family = self.run.family
        return {
            "base": self.run.index.model_hash,
            "adapters": {**dataclasses.asdict(self.run.recipe.adapters), "base": None},
            "caches": {name: cache_key(self.run, name) for name in family.names},
        }

    def export(self, folder: Path, config: dict[str, Any]) -> None:
        state = {
            key: value.detach().cpu().contiguous().clone()
            for key, value in adapter_state(self.diffusion.denoiser, NAME).items()
        }
        told = {
            **config,
            "base_model_hash": self.run.index.model_hash,
            "modality": self.name,
            "adapters": {
                **dataclasses.asdict(self.run.recipe.adapters),
                "base": self.run.base.name,
            },
        }
        with staged(folder, overwrite=True) as temporary:
            save_file(state, temporary / ADAPTER)
            (temporary / ADAPTER_CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True))


def train_adapters(recipe: Recipe, stage: str) -> None:
    """Train the adapters of every output that the base generates, or of `stage2.modality`, one
    after the other. ValueError for another stage than stage2."""
    if stage != "stage2":
        raise ValueError(
            f"a recipe of adapters trains stage2 alone, not {stage}: everything else is its base's"
        )
    run, chosen = AdapterRun(recipe), recipe.stage2.modality
    for name in [chosen] if chosen else run.names:
        fit(AdapterTask(run, name), for_modality(recipe.stage2, name), recipe)
