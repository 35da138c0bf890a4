"""A study: one patient visit with a value, or absence, for each modality."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

SPLITS = ("train", "validation", "test")


@dataclass
class Study:
    """One patient visit.

    `values[name]` is the raw value of a modality: an image as float32 array (H, W) in [0, 1], a
    report as str, a table row as dict column -> value (None where missing). A modality that is
    absent is None or not in the dict. `truth` is known for the phantom only: what was really
    rendered (never an input of a model).
    """

    study_id: str
    patient_id: str
    values: dict[str, Any]
    truth: dict[str, Any] | None = field(default=None)


def split_of(patient_id: str, validation: float = 0.1, test: float = 0.1) -> str:
    """Split of a patient by hash: the same for every order, subset and machine; studies of a
    patient stay together."""
    position = int.from_bytes(hashlib.sha256(patient_id.encode()).digest()[:8], "big") / 2**64
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"
