"""The contract of a modality KIND and the registry. A new kind is one file here and one entry in a
recipe.

The pipeline, the training stages and the command line know modalities only through this class.
"""

import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from medcodi.autoencoders.base import Autoencoder
from medcodi.config import DiffusionConfig, SharedSpaceConfig
from medcodi.config_io import build_dataclass
from medcodi.data.prepared import FieldSpec, PreparedDataset
from medcodi.data.table import TableSchema
from medcodi.diffusion.denoisers.base import Denoiser
from medcodi.diffusion.environment import EnvironmentEncoder
from medcodi.diffusion.sampler import check_interval
from medcodi.encoders.base import PromptEncoder
from medcodi.labeler.names import Label
from medcodi.modalities.parts import Parts

REGISTRY: dict[str, type["Modality"]] = {}


def register(kind: str):
    """Class decorator: make a kind known under its name in recipes."""

    def decorate(cls: type["Modality"]) -> type["Modality"]:
        cls.kind = kind
        REGISTRY[kind] = cls
        return cls

    return decorate


SAMPLING = ("guidance_scale", "guidance_interval", "coupling_scale", "coupling_interval")


@dataclass
class ModalityArgs:
    """What a recipe says of any modality; the dataclass of a kind adds its own arguments.

    `PARTS` tells which networks an argument is for, so that a change of it makes a new stage of
    those alone: "encoder", "autoencoder", "denoiser", "environment", or "" for what no network
    depends on. An argument that is not in it is for all of them.
    """

    PARTS: ClassVar[dict[str, str]] = {
        "encoder": "encoder",
        "autoencoder": "autoencoder",
        "denoiser": "denoiser",
        "null_prompt_probability": "denoiser",
        "environment_depth": "environment",
        "gate": "",
        "guidance_scale": "",
        "guidance_interval": "",
        "coupling_scale": "",
        "coupling_interval": "",
    }

    kind: str
    group: str = ""  # names of one group share the prompt encoder and the autoencoder
    gate: float = 0.0  # least reconstruction figure of the autoencoder before stage 2 may start
    guidance_scale: float = 1.5
    # noise levels [low, high] in [0, 1] that are guided when sampling; None: all
    guidance_interval: list[float] | None = None
    # guidance by the other outputs of a call, at these noise levels; 1: as stage 3 trained it
    coupling_scale: float = 1.0
    coupling_interval: list[float] | None = None
    # share of the rows that stage 2 trains without a prompt; None: that of `diffusion`
    null_prompt_probability: float | None = None
    environment_depth: int = 1

    def sampling(self) -> dict[str, Any]:
        """What no weight depends on, and samples do."""
        return {key: getattr(self, key) for key in SAMPLING}

    def check(self, where: str) -> None:
        """ValueError that names `where`, for values that no kind takes."""
        check_interval(self.guidance_interval, f"{where}.guidance_interval")
        check_interval(self.coupling_interval, f"{where}.coupling_interval")
        null = self.null_prompt_probability
        if null is not None and not 0 <= null <= 1:
            raise ValueError(f"{where}.null_prompt_probability must be in [0, 1], got {null}")


class Modality(ABC):
    """One NAME of a KIND: everything that is specific to it.

    `args` is the kind's own dataclass, `assets` is what was learned from the training split before
    any network (a tokenizer, a table schema): JSON-like, made by `fit_assets` and stored with the
    model. A *value batch* is what `collate` returns; see docs/architecture.md.
    """

    kind: ClassVar[str]
    Args: ClassVar[type[ModalityArgs]]
    storage: ClassVar[str]
    figure: str  # name of the reconstruction figure that `args.gate` bounds before stage 2

    def __init__(
        self, name: str, args: dict[str, Any] | Any, assets: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self.args = (
            build_dataclass(self.Args, args, f"modalities.{name}")
            if isinstance(args, dict)
            else args
        )
        self.assets = {} if assets is None else assets
        self.args.check(f"modalities.{name}")

    @property
    def group(self) -> str:
        """Names of one group share the prompt encoder and the autoencoder; never the denoiser."""
        return self.args.group or self.name

    def arguments(self, *parts: str) -> dict[str, Any]:
        """Arguments that fix the networks of `parts` ("encoder", "autoencoder", "denoiser",
        "environment"), as a plain dict, for identities."""
        owners = {k: self.args.PARTS.get(k) for k in dataclasses.asdict(self.args)}
        return {
            k: v
            for k, v in dataclasses.asdict(self.args).items()
            if owners[k] is None or owners[k] in parts
        }

    @property
    def view(self) -> str:
        """DICOM View Position (0018,5101) of the pictures of this modality, such as PA; "" where
        there is none."""
        return ""

    def field(self) -> FieldSpec:
        """How the prepared dataset stores this modality."""
        return FieldSpec(self.name, self.storage)

    def schemas(self) -> dict[str, TableSchema]:
        """field -> schema of the tables that this modality is stored in."""
        return {}

    def fit_assets(self, dataset: PreparedDataset) -> dict[str, Any]:
        """Learn the assets from the training split (default: none)."""
        return {}

    def tokenizers(self) -> dict[str, Any]:
        """transformers tokenizers that were fitted, by the folder that they are saved in ("" is the
        modality's own)."""
        return {}

    @abstractmethod
    def collate(self, values: Sequence[Any]) -> Any:
        """Stored values of the rows that have this modality -> value batch. ValueError for a value
        that cannot be."""

    @abstractmethod
    def build_prompt_encoder(self, space: SharedSpaceConfig) -> PromptEncoder: ...

    @abstractmethod
    def build_autoencoder(self) -> Autoencoder: ...

    def build_adversary(self) -> nn.Module | None:
        """What trains beside the autoencoder and judges what it decodes; its `losses` take it
        then."""
        return None

    @abstractmethod
    def build_denoiser(
        self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig
    ) -> Denoiser: ...

    def build_environment_encoder(
        self, latent_shape: tuple[int, ...], dim: int
    ) -> EnvironmentEncoder:
        """V_m: noisy latents (B, *latent_shape) -> tokens (B, K, dim)."""
        return EnvironmentEncoder(latent_shape, dim, self.args.environment_depth)

    def keys(self, values: Any) -> torch.Tensor | None:
        """(B,) int64 identity of each prompt below 2^52: equal keys are the same prompt. None:
        every row its own."""
        return None

    def select(self, values: Any, rows: Sequence[int]) -> Any:
        """Rows of a value batch."""
        return values[list(rows)]

    def concat(self, batches: list[Any]) -> Any:
        """Value batches -> one value batch."""
        if isinstance(batches[0], torch.Tensor):
            return torch.cat(batches)
        return [value for batch in batches for value in batch]

    def decode(
        self, autoencoder: Autoencoder, latents: torch.Tensor, generators: list[torch.Generator]
    ) -> Any:
        """Latents -> value batch, with one generator a row for kinds whose decoder samples."""
        return autoencoder.decode(latents)

    @property
    def parts(self) -> Parts:
        """What a call may keep of a value while the rest is generated."""
        return Parts(self)

    @abstractmethod
    def from_user(self, values: Any) -> list[Any]:
        """What a user passes as prompts (one value or a list) -> list of stored values, None where
        absent."""

    def from_labels(self, labels: Sequence[Label]) -> tuple[Any | None, list[Label]]:
        """Findings by name -> (the stored value of a prompt that says them, or None, the labels
        that it cannot say). ValueError where they contradict each other."""
        return None, list(labels)

    def label_names(self) -> list[str]:
        """Names of findings that `from_labels` knows."""
        return []

    @abstractmethod
    def show(self, stored: Sequence[Any]) -> Any:
        """Stored values -> what a user wants to see (PIL images, strings, a DataFrame)."""

    def to_user(self, values: Any) -> Any:
        """Value batch -> what a user wants to see."""
        return self.show(self.to_stored(values))

    def to_array(self, stored: Sequence[Any]) -> Any:
        """Stored values -> what `show` gives, as numbers where the kind has them."""
        return self.show(stored)

    def to_stored(self, values: Any) -> list[Any]:
        """Value batch -> stored values, one a row, in full precision: the inverse of `collate`."""
        return (
            list(values.float().cpu().numpy()) if isinstance(values, torch.Tensor) else list(values)
        )

    @abstractmethod
    def write(self, values: Any, folder: Path, stems: Sequence[str]) -> list[str]:
        """Write user values below `folder`, one file a stem; returns the file names."""

    @abstractmethod
    def read(self, path: Path) -> list[Any]:
        """Read prompts from a file of this kind (what `write` writes, at least)."""

    def parse(self, text: str) -> list[Any]:
        """A prompt given on the command line: the path of a file to `read`, or (kinds with a text
        form) the value."""
        path = Path(text)
        if not path.is_file():
            raise ValueError(f"modality {self.name!r}: prompt file {text!r} does not exist")
        return self.read(path)

    def to_previewable(self, values: Any) -> list[Any]:
        """Value batch -> one user value a row."""
        return self.to_user(values)

    def preview(self, values: Any) -> Any:
        """User value -> (H, W) float array in [0, 1] or str, for contact sheets."""
        return values


def get_kind(kind: str) -> type[Modality]:
    """Class of a kind. ValueError names the registered kinds."""
    if kind not in REGISTRY:
        near = difflib.get_close_matches(kind, REGISTRY, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ValueError(
            f"unknown modality kind {kind!r}{hint} Registered kinds: {', '.join(sorted(REGISTRY))}"
        )
    return REGISTRY[kind]
