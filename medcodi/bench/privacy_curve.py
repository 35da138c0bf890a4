"""What differential privacy costs: one output trained with several budgets, from the same public
weights, on the same private data.

Everything but the denoiser is a public pipeline's: its encoders, autoencoders, tokenizers and table
schema, so that the budget is that of all that saw the private data (Ghalebikesabi et al. 2023).
Legend: K studies of each side.
"""

import copy
import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from medcodi.config import DPConfig, Recipe, StageConfig
from medcodi.config_io import for_modality
from medcodi.data.prepared import PreparedDataset
from medcodi.data.storage import Storage
from medcodi.data.table import TableSchema
from medcodi.metrics import privacy
from medcodi.metrics.membership import denoising_losses
from medcodi.metrics.table_quality import shape_and_trend
from medcodi.metrics.tabular import efficacy, table_frame
from medcodi.nn.weights import load_config, load_module
from medcodi.pipeline import MedCoDiPipeline
from medcodi.start import start_from_pipeline
from medcodi.training.run import Run, frozen
from medcodi.training.tasks import train_stage

NO_DP = math.inf
COLUMNS = ("epsilon", "noise", "steps", "held-out loss", "membership", "shape", "trend", "utility")


def privacy_curve(
    recipe: Recipe,
    public: Path,
    public_data: Path,
    name: str,
    epsilons: Sequence[float],
    delta: float,
    count: int,
    unit: str = "patient",
) -> list[dict[str, Any]]:
    """Train output `name` of `recipe`, whose data are the private ones, once an epsilon (`inf`: no
    DP), and measure each on K = `count` training and as many held-out studies. Rows have the
    columns COLUMNS, Estimates or numbers; `shape`, `trend` and `utility` are of tables, absent
    elsewhere. The first row, epsilon 0, is the public pipeline. Statistics of its autoencoders are
    measured again on `public_data`, a prepared folder.

    What is trained is kept in the run folder: the same call goes on where it was stopped.
    """
    pipe = MedCoDiPipeline.from_pretrained(public)
    pipe.set_progress_bar_config(disable=True)
    base = copy.deepcopy(recipe)
    base.autoencoder, base.stage1 = StageConfig(num_steps=0), StageConfig(num_steps=0)
    base.stage2.modality = name
    base.data.prepared = str(public_data)
    for stage in ("autoencoder", "stage1"):  # kept as they are
        start_from_pipeline(base, stage, pipe, str(public))
        train_stage(base, stage)
    base.data.prepared = recipe.data.prepared
    sides = _sides(recipe, name, count)
    rows = [{"epsilon": 0.0} | _measured(pipe, name, sides, recipe.seed)]
    for epsilon in epsilons:
        done = recipe.run_dir / "curve" / f"epsilon_{epsilon:g}" / "export"
        if not done.is_dir():
            _train(base, pipe, public, name, _private(epsilon, delta, unit), done.parent)
        told = load_config(done)
        spent = told.get("dp") or {}
        pipe.diffusions[name] = frozen(_load(base, name, done))
        rows.append(
            {
                "epsilon": spent.get("epsilon", NO_DP),
                "noise": spent.get("noise_multiplier", 0.0),
                "steps": told["step"],
            }
            | _measured(pipe, name, sides, recipe.seed)
        )
    return rows


def _private(epsilon: float, delta: float, unit: str) -> DPConfig | None:
    return None if epsilon == NO_DP else DPConfig(delta, epsilon=epsilon, unit=unit)


def _train(
    base: Recipe,
    pipe: MedCoDiPipeline,
    public: Path,
    name: str,
    dp: DPConfig | None,
    kept: Path,
) -> None:
    """Stage 2 of `name`, moved to `kept`."""
    recipe = copy.deepcopy(base)
    recipe.stage2 = dataclasses.replace(for_modality(base.stage2, name), modality=name, dp=dp)
    start_from_pipeline(recipe, "stage2", pipe, str(public))
    train_stage(recipe, "stage2")
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.replace(recipe.run_dir / "stage2" / name, kept)


def _load(recipe: Recipe, name: str, export: Path) -> torch.nn.Module:
    return load_module(Run(recipe).family.build_diffusion(name), export)


def _sides(recipe: Recipe, name: str, count: int) -> dict[str, tuple[list[Any], list[str]]]:
    """Values and patients of training and of held-out studies."""
    found = {}
    for side, splits in {"members": ("train",), "others": ("validation", "test")}.items():
        studies = []
        for split in splits:
            data = PreparedDataset.load(recipe.data.prepared, split, [name]).having(name)
            studies += data.batch(range(min(len(data), count - len(studies))))
        found[side] = ([s.values[name] for s in studies], [s.patient_id for s in studies])
    return found


def _measured(
    pipe: MedCoDiPipeline, name: str, sides: dict[str, tuple[list[Any], list[str]]], seed: int
) -> dict[str, Any]:
    (members, owners), (others, strangers) = sides["members"], sides["others"]
    losses = [denoising_losses(pipe, name, values, seed) for values in (members, others)]
    groups = owners + strangers
    found: dict[str, Any] = {
        "held-out loss": float(losses[1].mean()),
        "membership": privacy.membership(-losses[0], -losses[1], seed, groups),
    }
    modality = pipe.family.modality(name)
    if modality.storage == Storage.TABLE:
        schema = TableSchema.from_dicts(modality.assets["schema"])
        seeds = range(seed, seed + len(members))
        rows = pipe({}, [name], seeds=seeds, num_images_per_prompt=len(members), coupled=False)
        real, made = table_frame(others, schema), table_frame(rows.stored[name], schema)
        quality = shape_and_trend(real, made, schema, (strangers, None), seed=seed)
        found |= {key: quality[key] for key in ("shape", "trend")}
        found["utility"] = efficacy(made, real, schema, seed=seed, groups=strangers).mean
    return found
