"""What do adapters gain on few studies of another site, and what does the model forget?

The site is a phantom with darker images and more effusions. Three denoisers of one output are
compared: the base's, the base's with adapters, and one of the same sizes that was trained from
scratch on the site's studies in as many steps. Encoders and autoencoders are the base's in all.
Legend: N studies.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from medcodi.adapters.run import AdapterRun
from medcodi.adapters.task import NAME, AdapterTask
from medcodi.config import Recipe
from medcodi.config_io import for_modality
from medcodi.data.study import Study
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.metrics.statistics import bootstrap, paired_difference
from medcodi.nn.adapters import load_adapter_state
from medcodi.nn.seeding import derive_generator
from medcodi.nn.weights import load_module
from medcodi.pipeline.lora import ADAPTER
from medcodi.sources.phantom import prepare_phantom
from medcodi.training.draws import Draws
from medcodi.training.loop import fit
from medcodi.training.tasks.stage2 import Stage2Task

BASE, ADAPTED, SCRATCH = "base", "adapters", "from scratch"
SITE, BEFORE = "the new site", "the data of before"
EXPOSURE = 1.6  # images are raised to this power
HEALTHY_SHARE = 0.25  # of the site's studies without an effusion that are kept
HELD_OUT_SEED, SITE_SEED = 9_100_000, 9_200_000  # no recipe renders these
ROWS = 32


def render(folder: Path, size: int, num_studies: int, num_held_out: int) -> dict[str, Path]:
    """Prepared folders of `num_studies` or `num_held_out` studies, before the site selects some:
    what is trained on, and what is held out of either site."""
    darker: dict[str, Any] = {"exposure": EXPOSURE, "keep": _more_effusions}
    wanted = {
        "train": (num_studies, SITE_SEED, darker),
        SITE: (num_held_out, SITE_SEED + 1, darker),
        BEFORE: (num_held_out, HELD_OUT_SEED, {}),
    }
    found = {}
    for name, (count, seed, options) in wanted.items():
        found[name] = folder / name.replace(" ", "_")
        if not found[name].exists():
            prepare_phantom(found[name], count, size, seed, num_processes=1, **options)
    return found


def _more_effusions(study: Study) -> bool:
    """All studies with an effusion, and a share of the others, chosen by their name."""
    assert study.truth is not None
    ill = study.truth["effusion_left"] > 0 or study.truth["effusion_right"] > 0
    chance = torch.rand((), generator=derive_generator(0, study.study_id))
    return bool(ill or chance < HEALTHY_SHARE)


def adapters_gain(
    recipe: Recipe, output: str, data: dict[str, Path], num_resamples: int = 500
) -> list[dict[str, Any]]:
    """Held-out denoising losses, prompted by all other modalities: one row a system and site,
    {system, site, n, loss, difference}; each loss and its `difference` to the base, paired by
    study, is {value, interval}. `recipe` has adapters; its data are replaced. Less is better."""
    own = dataclasses.replace(recipe.data, prepared=str(data["train"]))
    recipe = dataclasses.replace(recipe, data=own)
    scratch = dataclasses.replace(recipe, name=f"{recipe.name}_from_scratch")
    settings = for_modality(recipe.stage2, output)
    adapted, anew = AdapterTask(AdapterRun(recipe), output), Stage2Task(AdapterRun(scratch), output)
    fit(adapted, settings, recipe)
    fit(anew, settings, scratch)
    networks = {
        BASE: adapted.run.diffusion(output),
        ADAPTED: _loaded(adapted, recipe.run_dir / adapted.label / "export" / ADAPTER),
        SCRATCH: load_module(anew.network(), scratch.run_dir / anew.label / "export"),
    }
    rows = []
    for site in (SITE, BEFORE):
        where = dataclasses.replace(own, prepared=str(data[site]))
        judge = Stage2Task(AdapterRun(dataclasses.replace(recipe, data=where)), output)
        losses = {}
        for name, network in networks.items():
            judge.diffusion = network.eval()
            losses[name] = row_losses(judge, recipe.seed)
        rows += _rows(site, losses, num_resamples, recipe.seed)
    return rows


def _loaded(task: AdapterTask, path: Path) -> LatentDiffusion:
    network = task.network()
    load_adapter_state(network.denoiser, NAME, load_file(path), str(path))
    return network


@torch.no_grad()
def row_losses(task: Stage2Task, seed: int, repeats: int = 4) -> np.ndarray:
    """Mean denoising loss of each study (N,) of the task's data, all splits, with all its other
    modalities as prompts; the same noise for every network."""
    found: list[np.ndarray] = []
    for split in ("train", "validation", "test"):
        data = task.dataset(split)
        for start in range(0, len(data), ROWS):
            rows = range(start, min(start + ROWS, len(data)))
            batch, losses = data[list(rows)], torch.zeros(len(rows))
            latents = batch.latents[task.name]
            keep = torch.stack([batch.present[n] for n in task.diffusion.fusion.names], dim=1)
            context = task.diffusion.context(batch.encodings, keep)
            for repeat in range(repeats):
                draws = Draws(seed, f"{split}/{repeat}", start, len(rows), range(len(rows)))
                timesteps = task.objective.timesteps(draws.uniform())
                noise = draws.normal(*latents.shape[1:])
                noisy = task.objective.sample(latents, noise, timesteps)
                prediction = task.diffusion(noisy.latents, timesteps, context)
                losses += noisy.losses(prediction) / repeats
            found.append(losses.numpy())
    return np.concatenate(found)


def _rows(
    site: str, losses: dict[str, np.ndarray], num_resamples: int, seed: int
) -> list[dict[str, Any]]:
    rows = []
    for name, values in losses.items():
        count, statistic = len(values), _mean_of(values)
        loss = bootstrap(statistic, count, None, num_resamples, seed)
        against = paired_difference(
            statistic, _mean_of(losses[BASE]), count, None, num_resamples, seed
        )
        rows.append(
            {
                "system": name,
                "site": site,
                "n": count,
                "loss": {"value": loss.value, "interval": [loss.low, loss.high]},
                "difference": {"value": against.value, "interval": [against.low, against.high]},
            }
        )
    return rows


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: float(values[rows].mean())


def cells(row: dict[str, Any]) -> Sequence[object]:
    """A row of `adapters_gain` as the cells of a table."""
    figures = []
    for key, form in (("loss", ".4f"), ("difference", "+.4f")):
        value, (low, high) = row[key]["value"], row[key]["interval"]
        figures.append(f"{value:{form}} [{low:{form}}, {high:{form}}]")
    return (row["site"], row["system"], row["n"], *figures)
