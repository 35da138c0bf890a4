"""Tiny real components: one recipe, one prepared phantom, one trained run. Every test takes its
parts from here.

The phantom is a test body; nothing here is clinical data.
"""

import copy
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from medcodi.config import STAGES, Recipe
from medcodi.config_io import recipe_from_dict, save_yaml, to_dict
from medcodi.data.storage import FieldSpec
from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.data.writer import PreparedWriter
from medcodi.phantom import SCHEMA, generate
from medcodi.sources.phantom import STORAGE
from medcodi.training.tasks import train_stage

SIZE, NUM_STUDIES, BATCH = 16, 60, 8
NEVER = -1e9  # a gate that every autoencoder passes

IMAGE = {
    "kind": "image",
    "group": "radiograph",
    "size": SIZE,
    "gate": NEVER,
    "encoder": {
        "patch_size": 4,
        "width": 32,
        "layers": 1,
        "heads": 4,
        "num_tokens": 4,
        "pooling": "grid",
    },
    "autoencoder": {"block_out_channels": [8, 16], "latent_channels": 2, "norm_num_groups": 8},
    "denoiser": {"block_out_channels": [16, 32], "attention_head_dim": 8, "norm_num_groups": 8},
    "environment_patch": 2,
}
VECTOR_DENOISER = {"width": 32, "depth": 3, "num_heads": 4}
REPORT = {
    "kind": "report",
    "gate": NEVER,
    "vocab_size": 400,
    "encoder": {"context_length": 48, "width": 32, "layers": 1, "heads": 4, "num_tokens": 4},
    "autoencoder": {
        "num_slots": 4,
        "slot_dim": 4,
        "hidden_dim": 32,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "max_length": 16,
    },
    "denoiser": VECTOR_DENOISER,
}
TABULAR = {
    "kind": "tabular",
    "gate": NEVER,
    "encoder": {"width": 32, "layers": 1, "heads": 4, "num_tokens": 4},
    "autoencoder": {"num_slots": 2, "slot_dim": 4, "hidden_dim": 32},
    "denoiser": VECTOR_DENOISER,
}
STAGE = {"num_steps": 3, "batch_size": BATCH, "log_every": 1, "optim": {"warmup_steps": 1}}


def tiny_recipe(folder: Path, **overrides: Any) -> Recipe:
    """Recipe of frontal, lateral, report and tabular with `folder` as output folder and
    `folder/prepared` as data.

    `overrides` are nested dicts that are merged in, as in `tiny_recipe(tmp, stage2={"num_steps":
    6})`.
    """
    values: dict[str, Any] = {
        "name": "tiny",
        "output_dir": str(folder),
        "data": {"prepared": str(folder / "prepared")},
        "modalities": {"frontal": IMAGE, "lateral": IMAGE, "report": REPORT, "tabular": TABULAR},
        "shared_space": {
            "embed_dim": 16,
            "bridging_pairs": [
                ["frontal", "report"],
                ["lateral", "report"],
                ["tabular", "report"],
                ["tabular", "frontal"],
            ],
        },
        "diffusion": {
            "prediction_type": "flow",
            "prompt_mean": True,
            "prompt_mean_share": 0.0,
            "partner_mean": True,
            "context_dim": 32,
            "environment_dim": 16,
        },
        **dict.fromkeys(STAGES, STAGE),
    }
    return recipe_from_dict(_merge(values, overrides), "tiny recipe")


def _merge(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(values)
    for key, value in overrides.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def write_recipe(recipe: Recipe, path: Path) -> Path:
    """The recipe as a YAML file, for the scripts in train/."""
    save_yaml(to_dict(recipe), path)
    return path


def prepare_tiny(
    folder: Path,
    num_studies: int = NUM_STUDIES,
    extra: Sequence[FieldSpec] = (),
    add: Callable[[Study], None] | None = None,
) -> Path:
    """Prepared phantom of `num_studies` studies; `add` may put values of the `extra` fields into
    each study."""
    fields = [FieldSpec(name, storage) for name, storage in STORAGE.items()] + [*extra]
    schema = TableSchema(SCHEMA.columns)
    with PreparedWriter(folder, fields, schema, 0.2, find_duplicates=False) as writer:
        for study in generate(num_studies, seed=0, size=SIZE):
            if add:
                add(study)
            writer.add(study)
    return folder


def train_all(recipe: Recipe) -> None:
    for stage in STAGES:
        train_stage(recipe, stage)


def copy_run(
    recipe: Recipe, folder: Path, without: tuple[str, ...] = (), **overrides: Any
) -> Recipe:
    """The trained run of `recipe` copied below `folder` (but the stages in `without`), with its
    recipe.

    The prepared data is shared: it is only read.
    """
    changed = recipe_from_dict(
        _merge(to_dict(recipe), {"output_dir": str(folder), **overrides}), "copied recipe"
    )
    shutil.copytree(
        recipe.run_dir,
        changed.run_dir,
        ignore=lambda path, names: _left_out(recipe, path, names, without),
    )
    return changed


def _left_out(recipe: Recipe, path: str, names: list[str], without: tuple[str, ...]) -> list[str]:
    return [n for n in names if str((Path(path) / n).relative_to(recipe.run_dir)) in without]
