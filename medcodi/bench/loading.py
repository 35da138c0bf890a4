"""How fast does a pipeline load, beside reading the bytes of its files?"""

import os
import shutil
from pathlib import Path

import torch

from medcodi.bench.memory import stand_in_assets
from medcodi.bench.speed_generation import untrained_pipeline
from medcodi.bench.speed_training import Table, fastest
from medcodi.config import Recipe
from medcodi.modalities.family import ModelFamily
from medcodi.nn.weights import without_values
from medcodi.pipeline import MedCoDiPipeline
from medcodi.training.run import Run


def measure_loading(folder: Path, from_disk: bool = False) -> Table:
    """A pipeline from its folder, beside reading the same bytes: both from the page cache, or
    neither."""
    paths = [path for path in folder.rglob("*") if path.is_file()]

    def forget() -> None:
        for path in paths if from_disk else ():
            with path.open("rb") as file:
                os.fsync(file.fileno())  # only what is on the disk can be given up
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def read() -> None:
        forget()
        for path in paths:
            path.read_bytes()

    def load() -> None:
        forget()
        MedCoDiPipeline.from_pretrained(folder)

    seconds = fastest({"read the bytes": read, "from_pretrained": load}, 3, torch.device("cpu"))
    mib, suffix = (
        sum(path.stat().st_size for path in paths) / 2**20,
        ", from disk" if from_disk else "",
    )
    return [
        {"row": k + suffix, "ms": 1e3 * s, "mib": mib, "ratio": s / seconds["read the bytes"]}
        for k, s in seconds.items()
    ]


def empty_pipeline(recipe: Recipe) -> MedCoDiPipeline:
    """The networks of a recipe, with whatever stands in memory: what loads takes as long as trained
    ones."""
    family = ModelFamily(recipe, stand_in_assets(recipe))
    with without_values():
        components = {
            "encoder": {group: family.build_prompt_encoder(group) for group in family.groups},
            "autoencoder": {group: family.build_autoencoder(group) for group in family.groups},
            "diffusion": {
                name: family.build_diffusion(name, coupled=True) for name in family.names
            },
            "environment": {name: family.build_environment(name) for name in family.names},
        }
    for modules in components.values():
        for module in modules.values():
            module.to_empty(device="cpu")
    return MedCoDiPipeline.from_components(
        family, components, {name: family.objective.scheduler() for name in family.names}
    )


def loading(run: Run, device: torch.device, large: Recipe | None) -> Table:
    untrained_pipeline(run, device).save_pretrained(run.folder / "pipeline")
    table = [
        row
        for from_disk in (False, True)
        for row in measure_loading(run.folder / "pipeline", from_disk)
    ]
    if large:
        empty_pipeline(large).save_pretrained(run.folder / "large")
        table += [
            row | {"row": f"{row['row']}, {large.name}"}
            for row in measure_loading(run.folder / "large")
        ]
        shutil.rmtree(run.folder / "large")
    return table
