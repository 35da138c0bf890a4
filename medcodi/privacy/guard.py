"""What a guard is: it scores how much a generated value looks like ONE training record.

Legend: N values, T training records, H holdout records.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from medcodi.modalities.base import Modality

MIN_HOLDOUT = 20


class Match(NamedTuple):
    """`score` (N,), higher is more alike, and `record` (N,), the training record it belongs to."""

    score: np.ndarray
    record: np.ndarray


class Guard(ABC):
    """Fitted on T training values of one modality; calibrated on H values of other patients.

    `threshold`: a value that scores higher is dropped. `alert`: a lower one; two modalities of a
    study above it, with the same training record, are dropped together.
    """

    storage: ClassVar[str]  # of the values that it judges (data/storage.py)
    what: ClassVar[str]  # what a value above the threshold is, in words
    threshold: float
    alert: float

    @abstractmethod
    def match(self, values: Sequence[Any]) -> Match:
        """Scores of N stored values against the training records."""

    def check(self, modality: "Modality") -> None:
        """ValueError where it cannot judge what `modality` generates."""
        if modality.storage != self.storage:
            raise ValueError(
                f"this filter judges {modality.name!r} as {self.storage}, the model generates "
                f"{modality.storage}"
            )

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what `load` reads."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> "Guard": ...

    def calibrate(self, holdout: Sequence[Any], false_match_rate: float) -> None:
        """Set both thresholds so that about `false_match_rate` of strangers are dropped, ten times
        as many alerted. ValueError for a rate outside (0, 0.1] and for fewer than 20 strangers."""
        if not 0 < false_match_rate <= 0.1:
            raise ValueError(f"false_match_rate must lie in (0, 0.1], got {false_match_rate}")
        if len(holdout) < MIN_HOLDOUT:
            raise ValueError(
                f"a filter is calibrated on {MIN_HOLDOUT} held-out values or more, there are "
                f"{len(holdout)} of storage {self.storage!r}: prepare more patients"
            )
        scores = self.match(holdout).score
        self.threshold = float(np.quantile(scores, 1 - false_match_rate, method="higher"))
        self.alert = float(np.quantile(scores, 1 - 10 * false_match_rate, method="higher"))
