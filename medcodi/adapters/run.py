"""The run of a recipe of adapters: what other runs train, it takes from its base."""

import copy
import functools
from typing import Any

from medcodi.autoencoders.base import Autoencoder
from medcodi.config import Recipe
from medcodi.config_io import base_folder
from medcodi.data.prepared import PreparedDataset
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.encoders.shared_space import SharedSpace
from medcodi.identity import fingerprint
from medcodi.pipeline.index import read_index
from medcodi.pipeline.networks import FamilyNetworks
from medcodi.training.run import Run, frozen


class AdapterRun(Run):
    """`runs/NAME` of a recipe with `adapters.base`. ValueError for data that the base cannot
    read."""

    def __init__(self, recipe: Recipe) -> None:
        self.base = base_folder(recipe.adapters.base)
        self.index = read_index(self.base)
        super().__init__(recipe)
        self._check_tables()

    def _assets(self) -> dict[str, dict[str, Any]]:
        return self.index.assets

    @property
    def names(self) -> list[str]:
        """Modalities that the base generates."""
        return self.index.names

    @functools.cached_property
    def networks(self) -> FamilyNetworks:
        return FamilyNetworks.from_pretrained(self.base)

    def autoencoder(self, group: str) -> Autoencoder:
        return frozen(self.networks.components["autoencoder"][group])

    def shared_space(self) -> SharedSpace:
        group_of = {name: m.group for name, m in self.family.modalities.items()}
        encoders: dict[str, Any] = self.networks.components["encoder"]
        return frozen(SharedSpace(encoders, group_of, self.recipe.shared_space.loss))

    def diffusion(self, name: str) -> LatentDiffusion:
        model: Any = self.networks.components["diffusion"][name]
        return copy.deepcopy(model)

    def hash(self, label: str) -> str:
        """Of the base's weights that stand for the stage `label`."""
        kind, _, part = label.partition("/")
        folder = {"stage1": "encoder/", "stage2": f"diffusion/{part}/"}.get(kind, f"{label}/")
        files = {path: h for path, h in self.index.weights.items() if path.startswith(folder)}
        return fingerprint(files)

    def check_reconstruction(self, group: str) -> None:
        """The base's autoencoders passed their gates when it was trained."""

    def _check_tables(self) -> None:
        """A table's columns are those of the base: what it does not know, it cannot be shown."""
        fields = PreparedDataset.load(self.recipe.data.prepared, "train")
        for name, schema in fields.schemas.items():
            if name not in self.family.modalities:
                continue
            known = {c.name: c for c in self.family.modality(name).schema.columns}
            for column in schema.columns:
                where = f"{self.recipe.data.prepared}: column {column.name!r} of {name!r}"
                if column.name not in known:
                    raise ValueError(
                        f"{where} is not one of the base ({', '.join(known)}): leave it out when "
                        "the data are prepared"
                    )
                odd = [c for c in column.categories if c not in known[column.name].categories]
                if odd:
                    raise ValueError(
                        f"{where} has the categories {', '.join(odd)}, which the base does not "
                        f"know: it knows {', '.join(known[column.name].categories)}"
                    )
