"""The contract of an output format: it writes one generated study at a time, and at the end what
belongs to the set."""

import hashlib
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from medcodi.modalities.base import Modality

UID_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "medcodi:synthetic-study")
NOT_CLINICAL = "Synthetic. Not for clinical use."


@dataclass(frozen=True)
class Facts:
    """Where the studies of a run come from. `created` is the day (YYYY-MM-DD) on which the run was
    started; `settings` are those that change what is generated; `pixel_spacing` is the side of a
    pixel in mm, where known."""

    model: str
    model_hash: str
    version: str
    created: str
    settings: dict[str, Any] = field(default_factory=dict)
    pixel_spacing: float | None = None


@dataclass
class GeneratedStudy:
    """One sample: `stored` and `shown` hold it by modality name, as stored value and as user values
    of one row; `refused` says why a privacy filter had it drawn again; `given`: the prompts, as
    stored values."""

    stem: str
    seed: int
    prompt_hash: str
    stored: dict[str, Any]
    shown: dict[str, Any]
    refused: Sequence[str] = ()
    given: dict[str, Any] = field(default_factory=dict)


@dataclass
class Written:
    """`files`: label -> path relative to the folder; `left_out`: modality -> why it could not be
    written; `row`: what `finish` needs of this study."""

    files: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    row: dict[str, Any] | None = None


class StudyFormat(ABC):
    """Raises ValueError on construction where the outputs or the settings do not suit the
    format."""

    name: ClassVar[str]
    root: ClassVar[str] = ""  # folder of the studies, below the output folder

    def __init__(self, modalities: Sequence[Modality], facts: Facts) -> None:
        self.modalities, self.facts = list(modalities), facts

    @abstractmethod
    def write(self, study: GeneratedStudy, folder: Path, parent: str) -> Written:
        """Write one study below `folder / parent`, which exists; paths in the answer begin with
        `parent`."""

    def finish(self, folder: Path, samples: list[dict[str, Any]]) -> dict[str, str]:
        """Write the files of the whole set; `samples` are the lines of the ledger. Returns label ->
        relative path."""
        return {}

    def write_as_user(
        self, modality: Modality, study: GeneratedStudy, folder: Path, parent: str, stem: str
    ) -> str:
        """The modality's own file, for what a format has no form of its own for."""
        (name,) = modality.write(study.shown[modality.name], folder / parent, [stem])
        return join(parent, name)

    def uuid(self, study: GeneratedStudy, *parts: str) -> uuid.UUID:
        """Name-based UUID (RFC 9562, version 5) of a part of a study: the same for the same model,
        settings, prompts, seed and study, different for any other."""
        settings = json.dumps(self.facts.settings, sort_keys=True)
        told = [
            self.facts.model_hash,
            settings,
            study.prompt_hash,
            str(study.seed),
            study.stem,
            *parts,
        ]
        return uuid.uuid5(UID_NAMESPACE, json.dumps(told))

    def patient_id(self, study: GeneratedStudy) -> str:
        return f"SYN-{self.uuid(study, 'patient').hex[:16].upper()}"


def join(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def hash_prompts(stored: dict[str, Any]) -> str:
    """sha256 of the prompts of one row (modality name -> stored value, None where absent); "none"
    without any."""
    given = {name: value for name, value in sorted(stored.items()) if value is not None}
    if not given:
        return "none"
    digest = hashlib.sha256()
    for name, value in given.items():
        digest.update(json.dumps(name).encode())
        if isinstance(value, np.ndarray):
            digest.update(
                json.dumps([str(value.dtype), *value.shape]).encode()
                + np.ascontiguousarray(value).tobytes()
            )
        else:
            digest.update(json.dumps(value, sort_keys=True).encode())
    return digest.hexdigest()
