"""Folders and names of pipelines: from_pretrained, save_pretrained, push_to_hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import SchedulerMixin

from medcodi.config_io import unknown_key
from medcodi.modalities.family import ModelFamily
from medcodi.pipeline import hub
from medcodi.pipeline.arguments import shown
from medcodi.pipeline.facts import Facts
from medcodi.pipeline.lora import LoraAdapters
from medcodi.pipeline.networks import UNSAVED, FamilyNetworks
from medcodi.pipeline.solvers import fit_scheduler
from medcodi.pipeline.storage import Components, save_components

LOADING = ("revision", "token", "cache_dir", "local_files_only")


class Folders(LoraAdapters):
    """MedCoDiPipeline on disk and on the hub."""

    family: ModelFamily
    schedulers: dict[str, SchedulerMixin]
    networks: FamilyNetworks
    facts: Facts
    model_hash: str

    @classmethod
    def from_components(
        cls,
        family: ModelFamily,
        components: Components,
        schedulers: dict[str, SchedulerMixin],
        model_hash: str = UNSAVED,
    ) -> Any:
        """A pipeline of networks that are at hand, kind -> name -> network."""
        pipeline: Any = cls  # of a class that joins this one with a diffusers pipeline
        return pipeline(FamilyNetworks(family, components, schedulers, model_hash))

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        modalities: Sequence[str] | None = None,
        torch_dtype: torch.dtype | str | None = None,
        *,
        dtype: torch.dtype | str | None = None,
        device_map: str | None = None,
        scheduler: SchedulerMixin | None = None,
        **download: Any,
    ) -> Any:
        """Load what `save_pretrained` wrote.

        Args:
            folder: a folder, the name of a shipped model ("phantom"), or OWNER/MODEL on the Hugging
                Face hub.
            modalities: load a part.
            torch_dtype, dtype: of the diffusion networks; None: float32, "auto": as they were
                saved. Encoders and autoencoders always work in float32.
            device_map: a device, such as "cuda"; a family is not spread over several.
            scheduler: of all outputs.
            download: revision, token, cache_dir, local_files_only.

        Raises ValueError for a folder that is damaged, FileNotFoundError for what is missing.
        """
        for key in download:
            if key not in LOADING:
                raise unknown_key(key, LOADING, "from_pretrained")
        dtype = torch_dtype if dtype is None else dtype
        if device_map is not None:
            _check_device(device_map)
        networks = FamilyNetworks.from_pretrained(
            hub.local_folder(folder, **download), modalities, torch_dtype=dtype
        )
        pipeline: Any = cls
        pipe = pipeline(networks)
        if scheduler is not None:
            pipe.scheduler = scheduler
        return pipe.to(device=device_map)

    @classmethod
    def extract_init_dict(
        cls, config_dict: dict[str, Any], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """What `DiffusionPipeline.from_pretrained` loads: our one component, whatever the folder
        says, so that a folder cannot name code."""
        return {"networks": (FamilyNetworks.__module__, FamilyNetworks.__name__)}, kwargs, {}

    def save_pretrained(
        self, folder: str | Path, dtype: torch.dtype | None = None, **kwargs: Any
    ) -> None:
        """Write a folder for `from_pretrained`, with a model card (README.md) of `self.facts`.
        `dtype`, such as torch.bfloat16, rounds all weights on the disk; those in memory stay."""
        for key in kwargs:
            raise unknown_key(key, ("folder", "dtype"), "save_pretrained")
        self._check_no_adapters()
        reference = self.family.objective.scheduler()
        schedulers = {name: fit_scheduler(s, reference) for name, s in self.schedulers.items()}
        index = save_components(
            Path(folder), self.family, self.networks.components, schedulers, self.facts, dtype
        )
        if dtype is None:  # else the weights in memory are others than those on the disk
            self.model_hash = index.model_hash

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "Upload MedCoDiPipeline",
    ) -> str:
        """Save and upload with the model card; returns the address of the commit. ValueError."""
        return hub.upload(self, repo_id, private, token, commit_message)


def _check_device(device_map: Any) -> None:
    try:
        torch.device(device_map)
    except (RuntimeError, TypeError):
        raise ValueError(
            f"device_map must be one device, such as 'cuda' or 'cpu', got {shown(device_map)}: the "
            "outputs of a family exchange what they know at every step and stay together; "
            "enable_model_cpu_offload makes room"
        ) from None
