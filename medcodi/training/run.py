"""The run folder of a recipe: where stages export to, and how later stages load what earlier ones
made."""

import functools
import json
import logging
import math
from pathlib import Path
from typing import Any

from torch import nn

from medcodi.autoencoders.base import Autoencoder
from medcodi.config import Recipe
from medcodi.data.cache import ArrayCache
from medcodi.data.prepared import PreparedDataset, dataset_hash
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.encoders.shared_space import SharedSpace
from medcodi.files import written
from medcodi.modalities.family import ModelFamily, fit_assets, load_assets
from medcodi.nn.weights import WEIGHTS, load_config, load_module, weights_hash

logger = logging.getLogger(__name__)


class Run:
    """`runs/NAME`: the family with its assets, the prepared data, the exports of the stages."""

    def __init__(self, recipe: Recipe) -> None:
        if recipe.adapters.base and type(self) is Run:
            raise ValueError(
                f"recipe {recipe.name!r} trains adapters and has no pipeline of its own: load its "
                "folder with pipe.load_lora_weights, then fuse_lora and save_pretrained"
            )
        self.recipe, self.folder = recipe, recipe.run_dir
        self.caches: dict[
            tuple[str, str], ArrayCache
        ] = {}  # by split and modality, once opened (training/cached.py)
        self.family = ModelFamily(recipe, self._assets())

    def _assets(self) -> dict[str, dict[str, Any]]:
        """Tokenizers and schemas: fitted once on the training split, then kept with the run."""
        path = self.folder / "assets.json"
        if not path.is_file():
            assets = fit_assets(self.recipe, self.data("train", list(self.recipe.modalities)))
            with written(path) as temporary:  # every process of a first run fits the same assets
                temporary.write_text(json.dumps(assets))
        return load_assets(path)

    def data(self, split: str, names: list[str]) -> PreparedDataset:
        if not self.recipe.data.prepared:
            raise ValueError(
                "data.prepared is empty: give the folder that `medcodi prepare` wrote, "
                "for example data.prepared=data/my_hospital"
            )
        return PreparedDataset.load(self.recipe.data.prepared, split, names)

    def export(self, label: str) -> Path:
        """Export folder of a finished stage. FileNotFoundError names the stage to train first."""
        folder = self.folder / label / "export"
        if not (folder / WEIGHTS).is_file():
            raise FileNotFoundError(
                f"{folder} has no weights: train {label!r} of recipe {self.recipe.name!r} first"
            )
        return folder

    def autoencoder(self, group: str) -> Autoencoder:
        return frozen(
            load_module(self.family.build_autoencoder(group), self.export(f"autoencoder/{group}"))
        )

    def shared_space(self) -> SharedSpace:
        space = self.family.build_shared_space()
        return frozen(
            load_module(space, self.export("stage1")) if self.family.has_prompts else space
        )

    def diffusion(self, name: str) -> LatentDiffusion:
        return load_module(self.family.build_diffusion(name), self.export(f"stage2/{name}"))

    def hash(self, label: str) -> str:
        """Of the weights that a stage exported; a file that has not changed is read once."""
        folder = self.export(label)
        stat = (folder / WEIGHTS).stat()
        return _weights_hash(folder, (stat.st_ino, stat.st_size, stat.st_mtime_ns))

    @functools.cached_property
    def data_hash(self) -> str:
        """Of the prepared studies."""
        return dataset_hash(self.recipe.data.prepared)

    def check_reconstruction(self, group: str) -> None:
        """Gate before stage 2: ValueError with the figure of an autoencoder that fails it."""
        modality = self.family.representative(group)
        figures = load_config(self.export(f"autoencoder/{group}"))["reconstruction"]
        value, least = figures.get(modality.figure, math.nan), modality.args.gate
        if not value >= least:  # also when it is NaN
            raise ValueError(
                f"the autoencoder of group {group!r} reconstructs with {modality.figure} "
                f"{value:.4g}, the gate is "
                f"{least:g}: train it longer (autoencoder.num_steps), or lower "
                f"modalities.{modality.name}.gate knowingly"
            )


@functools.cache
def _weights_hash(folder: Path, state: tuple[int, ...]) -> str:
    """`state` of the file tells that it is another one."""
    return weights_hash(folder)


def frozen(module: nn.Module) -> Any:
    """Eval mode, no gradients."""
    return module.eval().requires_grad_(False)
