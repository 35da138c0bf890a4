"""Pipelines on disk: `model_index.json` (the family) and one folder a component.

pipeline/
  model_index.json        recipe parts, fitted assets, scheduler classes, SHA-256 and checksum of
  every component
  encoder/GROUP/          prompt encoder          autoencoder/GROUP/
  diffusion/NAME/         fusion and denoiser     environment/NAME/
  scheduler/NAME/         a diffusers scheduler
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import diffusers
from torch import nn

import medcodi
from medcodi.config_io import recipe_from_dict, to_dict
from medcodi.modalities.family import ModelFamily
from medcodi.nn.weights import checksum, load_module, save_module, weights_hash, without_values

INDEX = "model_index.json"
RECIPE_PARTS = ("name", "seed", "modalities", "shared_space", "diffusion")
COMPONENTS = ("encoder", "autoencoder", "diffusion", "environment")


def save_components(
    folder: Path,
    family: ModelFamily,
    components: dict[str, dict[str, nn.Module]],
    schedulers: dict[str, Any],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    hashes, checksums = {}, {}
    for kind, modules in components.items():
        for name, module in modules.items():
            save_module(module, folder / kind / name, {"component": kind, "name": name})
            hashes[f"{kind}/{name}"] = weights_hash(folder / kind / name)
            checksums[f"{kind}/{name}"] = checksum(folder / kind / name)
    for name, scheduler in schedulers.items():
        scheduler.save_pretrained(folder / "scheduler" / name)
    recipe = to_dict(family.recipe)
    index = {
        "_class_name": "MedCoDiPipeline",
        "_medcodi_version": medcodi.__version__,
        "recipe": {part: recipe[part] for part in RECIPE_PARTS},
        "assets": family.assets,
        "weights": hashes,
        "checksums": checksums,
        "schedulers": {name: type(s).__name__ for name, s in schedulers.items()},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1))


def load_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is no medcodi pipeline: {INDEX} is missing. Train one (`medcodi "
            "quickstart`, or the scripts in "
            "train/) or pass the folder that save_pretrained wrote"
        )
    index = json.loads(path.read_text())
    if index.get("_class_name") != "MedCoDiPipeline":
        raise ValueError(
            f"{path} describes a {index.get('_class_name')!r}, expected 'MedCoDiPipeline'"
        )
    return index


def family_of(index: dict[str, Any]) -> ModelFamily:
    return ModelFamily(recipe_from_dict(index["recipe"], INDEX), index["assets"])


def load_components(
    folder: Path, index: dict[str, Any], family: ModelFamily, names: Iterable[str]
) -> tuple[dict[str, dict[str, nn.Module]], dict[str, Any]]:
    """Components of the modalities `names`, strictly loaded and checked against the hashes of the
    index."""
    names = list(names)
    groups = list(dict.fromkeys(family.modality(n).group for n in names))
    coupled = any(key.startswith("environment/") for key in index["weights"])
    build = {
        "encoder": family.build_prompt_encoder,
        "autoencoder": family.build_autoencoder,
        "diffusion": lambda name: family.build_diffusion(name, coupled=coupled),
        "environment": family.build_environment,
    }
    keys = [
        (kind, n)
        for kind in COMPONENTS
        for n in (groups if kind in ("encoder", "autoencoder") else names)
    ]
    keys = [(kind, n) for kind, n in keys if f"{kind}/{n}" in index["weights"]]
    components: dict[str, dict[str, nn.Module]] = {kind: {} for kind in COMPONENTS}
    with ThreadPoolExecutor() as pool:
        checks = [pool.submit(_check, folder, f"{kind}/{name}", index) for kind, name in keys]
        for kind, name in keys:
            with without_values():
                module = build[kind](name)
            components[kind][name] = (
                load_module(module, folder / kind / name).eval().requires_grad_(False)
            )
        for check in checks:
            check.result()
    schedulers = {}
    for name in names:
        scheduler_class = getattr(diffusers, index["schedulers"][name])
        schedulers[name] = scheduler_class.from_pretrained(folder / "scheduler" / name)
    return components, schedulers


def _check(folder: Path, key: str, index: dict[str, Any]) -> None:
    """ValueError for a weights file that is not the one of the index, FileNotFoundError without
    one."""
    if "checksums" in index:
        found, expected = checksum(folder / key), index["checksums"][key]
    else:  # older pipelines
        found, expected = weights_hash(folder / key), index["weights"][key]
    if found != expected:
        raise ValueError(f"{folder / key} is not what {INDEX} describes: its weights hash differs")


def model_hash(index: dict[str, Any]) -> str:
    """One hash for the whole pipeline, for manifests."""
    return hashlib.sha256(json.dumps(index["weights"], sort_keys=True).encode()).hexdigest()[:16]
