"""Adapters of a pipeline, as diffusers names them: load, weigh, fuse into the weights, unload."""

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from medcodi.config import AdaptersConfig
from medcodi.config_io import build_dataclass, unknown_key
from medcodi.diffusion.ldm import LatentDiffusion
from medcodi.identity import fingerprint
from medcodi.nn.adapters import (
    add_adapters,
    load_adapter_state,
    merge_adapters,
    remove_adapters,
    set_strengths,
)
from medcodi.pipeline.arguments import number, shown
from medcodi.pipeline.index import read_json

ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAX_STRENGTH = 10.0


class LoraAdapters:
    """What MedCoDiPipeline knows of adapters. `adapters`: name -> strength of those that are
    loaded."""

    diffusions: dict[str, LatentDiffusion]
    model_hash: str
    adapters: Mapping[str, float] = MappingProxyType({})
    _adapter_hashes: Mapping[str, str] = MappingProxyType({})
    _plain_hash = ""  # that of the pipeline without its adapters, once there are some

    def load_lora_weights(
        self, folder: str | Path, adapter_name: str = "default", strength: float = 1.0
    ) -> None:
        """Load what a recipe of adapters trained: the folder of its run, or any folder above its
        `adapter_model.safetensors`. Modalities that it has none for stay as they are.

        Raises FileNotFoundError where there are none; ValueError for adapters of another base, a
        name that is taken, and files that are damaged. Nothing is changed then.
        """
        number(strength, "strength", 0.0, MAX_STRENGTH)
        if not isinstance(adapter_name, str) or not adapter_name.isidentifier():
            raise ValueError(f"adapter_name must be a plain name, got {shown(adapter_name)}")
        if adapter_name in self.adapters:
            raise ValueError(
                f"an adapter {adapter_name!r} is loaded already: give another adapter_name, or "
                "unload_lora_weights() first"
            )
        if not self.adapters:
            self._plain_hash = self.model_hash
        paths = sorted(Path(folder).rglob(ADAPTER))
        if not paths:
            raise FileNotFoundError(
                f"{folder} holds no {ADAPTER}: expected the run of a recipe with `adapters`"
            )
        fitted, hashes = {}, {}
        for path in paths:
            name, told = self._read_config(path.parent)
            if name in fitted:
                raise ValueError(f"{folder} holds two adapters of {name!r}: give the folder of one")
            data = path.read_bytes()
            try:
                state = load(data)
            except SafetensorError as error:
                raise ValueError(f"{path} is damaged: {error}") from None
            fitted[name] = self._fitted(name, adapter_name, told, state, path)
            hashes[name] = hashlib.sha256(data).hexdigest()[:16]
        for name, denoiser in fitted.items():
            self.diffusions[name].denoiser = denoiser
        self._adapter_hashes = {**self._adapter_hashes, adapter_name: fingerprint(hashes)}
        self.set_adapters({**self.adapters, adapter_name: strength})

    def _read_config(self, folder: Path) -> tuple[str, AdaptersConfig]:
        """The modality of an adapter and how it was added. ValueError where it does not fit."""
        config, where = read_json(folder, ADAPTER_CONFIG), str(folder / ADAPTER_CONFIG)
        name = config.get("modality")
        if name not in self.diffusions:
            raise unknown_key(str(name)[:60], self.diffusions, f"{where}, the modalities")
        if config.get("base_model_hash") != self._plain_hash:
            raise ValueError(
                f"{where}: these adapters were trained on a base with the hash "
                f"{config.get('base_model_hash')}, this pipeline has {self._plain_hash}"
            )
        told = config.get("adapters")
        if not isinstance(told, dict):
            raise ValueError(f"{where}: adapters must be a mapping, got {shown(told)}")
        return name, build_dataclass(AdaptersConfig, told, f"{where}: adapters")

    def _fitted(
        self,
        name: str,
        adapter_name: str,
        told: AdaptersConfig,
        state: dict[str, torch.Tensor],
        path: Path,
    ) -> Any:
        """A copy of the denoiser with the adapter in it."""
        denoiser = copy.deepcopy(self.diffusions[name].denoiser)
        dtype = next(denoiser.parameters()).dtype
        add_adapters(
            denoiser,
            adapter_name,
            told.kind,
            told.rank,
            told.alpha,
            told.dropout,
            told.layers,
            denoiser.coupling_parameters(),
        )
        load_adapter_state(denoiser, adapter_name, state, str(path))
        return denoiser.to(dtype).eval().requires_grad_(False)

    def set_adapters(self, strengths: float | Mapping[str, float]) -> None:
        """Strength of every loaded adapter, or of those that are named; one that is not named is
        off. 1: as trained, 0: off. ValueError for an adapter that is not loaded."""
        loaded = list(self._adapter_hashes)
        if not isinstance(strengths, Mapping):
            strengths = dict.fromkeys(loaded, strengths)
        for name in strengths:
            if name not in loaded:
                raise unknown_key(str(name), loaded, "the loaded adapters")
        chosen = {
            name: number(strengths.get(name, 0.0), f"strength of {name!r}", 0.0, MAX_STRENGTH)
            for name in loaded
        }
        for diffusion in self.diffusions.values():
            set_strengths(diffusion.denoiser, chosen)
        self.adapters = chosen
        used = {n: [self._adapter_hashes[n], s] for n, s in chosen.items() if s}
        self.model_hash = fingerprint([self._plain_hash, used]) if used else self._plain_hash

    def fuse_lora(self) -> None:
        """Put the adapters into the weights, with the strengths that they have: generation is as
        fast as without them, and save_pretrained writes the result."""
        for diffusion in self.diffusions.values():
            merge_adapters(diffusion.denoiser, self.adapters)
        self.adapters, self._adapter_hashes = {}, {}

    def unload_lora_weights(self) -> None:
        """The pipeline as it was before."""
        for diffusion in self.diffusions.values():
            remove_adapters(diffusion.denoiser)
        if self.adapters:
            self.model_hash = self._plain_hash
        self.adapters, self._adapter_hashes = {}, {}

    def _check_no_adapters(self) -> None:
        if self.adapters:
            raise ValueError(
                f"adapters are loaded ({', '.join(self.adapters)}): fuse_lora() puts them into the "
                "weights, unload_lora_weights() takes them off"
            )
