"""The one component of the pipeline as diffusers sees it: all networks of a family and their
schedulers.

diffusers' own loader wants to know the components of a pipeline from the signature of its class.
Ours depend on the recipe; so that `DiffusionPipeline.from_pretrained(FOLDER)` works as well, they
are one component that loads itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin, SchedulerMixin  # diffusers looks for ModelMixin in this module
from torch import nn

from medcodi.config_io import unknown_key
from medcodi.modalities.family import ModelFamily
from medcodi.pipeline.facts import Facts
from medcodi.pipeline.index import INDEX, Index, family_of, of_version, read_index
from medcodi.pipeline.storage import Components, load_components

UNSAVED = "unsaved"


class FamilyNetworks(ModelMixin):
    """`components`: kind ("encoder", "autoencoder", "diffusion", "environment") -> name -> network;
    `schedulers` by modality name."""

    def __init__(
        self,
        family: ModelFamily,
        components: Components,
        schedulers: dict[str, SchedulerMixin],
        model_hash: str = UNSAVED,
        facts: Facts | None = None,
    ) -> None:
        super().__init__()
        self.family, self.schedulers, self.model_hash = family, schedulers, model_hash
        self.components, self.facts = components, facts or Facts()

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, modalities: Sequence[str] | None = None, **loading: Any
    ) -> "FamilyNetworks":
        """What `save_pretrained` of the pipeline wrote; `modalities` loads a part. `loading` holds
        what diffusers' loader says about weights: they are always mapped from safetensors, and
        `torch_dtype` is that of the diffusion networks: None is float32, "auto" what was saved.
        Raises ValueError, FileNotFoundError."""
        dtype = loading.get("torch_dtype")
        if dtype != "auto":
            check_dtype(dtype)
        folder = Path(folder)
        index = read_index(folder)
        with of_version(index.version):
            return cls._load(folder, index, modalities, dtype)

    @classmethod
    def _load(
        cls, folder: Path, index: Index, modalities: Sequence[str] | None, dtype: Any
    ) -> "FamilyNetworks":
        family = family_of(index, str(folder / INDEX))
        modalities = [modalities] if isinstance(modalities, str) else modalities
        for name in modalities or []:
            if name not in index.names:
                raise unknown_key(str(name)[:60], index.names, f"the modalities of {folder}")
        names = [name for name in index.names if modalities is None or name in modalities]
        if not names:
            raise ValueError(
                f"modalities must name at least one of {', '.join(index.names)}, got none"
            )
        components, schedulers = load_components(folder, index, family, names)
        networks = cls(family, components, schedulers, index.model_hash, index.facts)
        cast(components, None if dtype == "auto" else dtype or torch.float32)
        return networks


def check_dtype(dtype: Any) -> None:
    """ValueError for a dtype that networks cannot have."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype must be a floating point torch.dtype, got {dtype!r}")


def cast(components: Components, dtype: Any, device: Any = None) -> None:
    """`dtype` is for the diffusion networks: encoders and autoencoders work in float32."""
    for kind, modules in components.items():
        for module in modules.values():
            of_diffusion = kind in ("diffusion", "environment")
            module.to(device=device, dtype=dtype if of_diffusion else torch.float32)


def module_dict(modules: dict[str, nn.Module]) -> nn.ModuleDict | None:
    return nn.ModuleDict(modules) if modules else None
