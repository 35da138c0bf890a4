"""The contract of a modality KIND and the registry. A new kind is one file here and one entry in a
recipe.

The pipeline, the training stages and the command line know modalities only through this class.
"""

import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from medcodi.autoencoders.base import Autoencoder
from medcodi.config import DiffusionConfig, SharedSpaceConfig, build_dataclass
from medcodi.data.prepared import FieldSpec, PreparedDataset
from medcodi.diffusion.closed_form import PENALTY
from medcodi.encoders.base import PromptEncoder

REGISTRY: dict[str, type["Modality"]] = {}
NETWORK_PARTS = ("encoder", "autoencoder", "denoiser", "environment")
OF_SAMPLING = ("gate", "guidance_scale", "guidance_interval", "view")
LATER = {
    "later": True
}  # metadata of an argument that came after runs existed: at its default it is not described


def register(kind: str):
    """Class decorator: make a kind known under its name in recipes."""

    def decorate(cls: type["Modality"]) -> type["Modality"]:
        cls.kind = kind
        REGISTRY[kind] = cls
        return cls

    return decorate


class Modality(ABC):
    """One NAME of a KIND: everything that is specific to it.

    `args` is the kind's own dataclass, `assets` is what was learned from the training split before
    any network (a
    tokenizer, a table schema): JSON-like, made by `fit_assets` and stored with the model.
    A *value batch* is what `collate` returns; see docs/architecture.md.
    """

    kind: ClassVar[str]
    Args: ClassVar[type]
    storage: ClassVar[str]
    figure: ClassVar[
        str
    ]  # name of the reconstruction figure that `args.gate` bounds before stage 2

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
        interval = self.guidance_interval
        if interval is not None and (len(interval) != 2 or not 0 <= interval[0] < interval[1] <= 1):
            raise ValueError(
                f"modalities.{name}.guidance_interval must be [low, high] with 0 <= low < high <= "
                "1, "
                f"got {interval}"
            )
        null = self.null_prompt_probability
        if null is not None and not 0 <= null <= 1:
            raise ValueError(
                f"modalities.{name}.denoiser_null_probability must be in [0, 1], got {null}"
            )

    @property
    def group(self) -> str:
        """Names of one group share the prompt encoder and the autoencoder; never the denoiser."""
        return self.args.group or self.name

    def described(self, *parts: str) -> dict[str, Any]:
        """Arguments that fix the networks of `parts` (prefixes of argument names, such as
        "encoder"), for fingerprints: those of other parts, of sampling and `LATER` ones at their
        default are left out."""
        other = tuple(part for part in NETWORK_PARTS if part not in parts)
        return {
            k: v
            for k, v in _described(self.args).items()
            if not k.startswith(other) and k not in OF_SAMPLING
        }

    @property
    def guidance_interval(self) -> list[float] | None:
        """Noise levels [low, high] inside which samples of this modality are guided by default;
        None: everywhere."""
        return getattr(self.args, "guidance_interval", None)

    @property
    def linear_penalty(self) -> float:
        """Of the ridge regressions on the prompts when this modality is generated
        (diffusion/linear_denoiser.py)."""
        return getattr(self.args, "denoiser_penalty", PENALTY)

    @property
    def null_prompt_probability(self) -> float | None:
        """Share of the rows that stage 2 trains without a prompt; None:
        `diffusion.null_prompt_probability`."""
        return getattr(self.args, "denoiser_null_probability", None)

    @property
    def view(self) -> str:
        """DICOM View Position (0018,5101) of the pictures of this modality, such as PA; "" where
        there is none."""
        return ""

    def field(self) -> FieldSpec:
        """How the prepared dataset stores this modality."""
        return FieldSpec(self.name, self.storage)

    def fit_assets(self, dataset: PreparedDataset) -> dict[str, Any]:
        """Learn the assets from the training split (default: none)."""
        return {}

    @abstractmethod
    def collate(self, values: Sequence[Any]) -> Any:
        """Stored values of the rows that have this modality -> value batch. ValueError for a value
        that cannot be."""

    @abstractmethod
    def build_prompt_encoder(self, space: SharedSpaceConfig) -> PromptEncoder: ...

    @abstractmethod
    def build_autoencoder(self) -> Autoencoder: ...

    @abstractmethod
    def build_denoiser(
        self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig
    ) -> nn.Module: ...

    @abstractmethod
    def build_environment_encoder(
        self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig
    ) -> nn.Module: ...

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

    @abstractmethod
    def from_user(self, values: Any) -> list[Any]:
        """What a user passes as prompts (one value or a list) -> list of stored values, None where
        absent."""

    @abstractmethod
    def to_user(self, values: Any) -> Any:
        """Value batch -> what a user wants to see (PIL images, strings, a DataFrame)."""

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


def _described(args: Any) -> dict[str, Any]:
    """`dataclasses.asdict`, without the `LATER` fields that stand at their default."""
    values = {}
    for f in dataclasses.fields(args):
        value = getattr(args, f.name)
        if f.metadata == LATER and value == f.default:
            continue
        values[f.name] = _described(value) if dataclasses.is_dataclass(value) else value
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
