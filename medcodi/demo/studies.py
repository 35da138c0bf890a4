"""Held-out studies to draw prompts from, and the nearest training study of what was generated.

Legend: T training values, H held-out values.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medcodi.data.prepared import PreparedDataset
from medcodi.data.storage import Storage
from medcodi.data.study import Study
from medcodi.data.user_images import fit
from medcodi.metrics.retrieval import image_distances, text_distances
from medcodi.modalities.base import Modality

HELD_OUT = ("test", "validation")
THUMBNAIL, MAX_TRAINING, MAX_HELD_OUT, CHUNK = 32, 3000, 64, 256
PHANTOM_SEED = 1 << 40  # a population of its own: no recipe trains on it


class Drawn(Protocol):
    """Where held-out studies come from."""

    def draw(self, number: int) -> Study: ...


class HeldOut:
    """Those of a prepared folder: of test, else of validation. ValueError when there is none."""

    def __init__(self, prepared: str | Path, names: Sequence[str]) -> None:
        for split in HELD_OUT:
            data = PreparedDataset.load(prepared, split, also=names)
            if len(data):
                break
        else:
            raise ValueError(f"{prepared} has no held-out study to draw from")
        self.data, self.names = data, list(names)

    def draw(self, number: int) -> Study:
        study = self.data[number % len(self.data)]
        values = {name: v for name, v in study.values.items() if name in self.names}
        return Study(study.study_id, study.patient_id, values)


class Phantoms:
    """Fresh chest phantoms of `size` pixels, which no training has seen."""

    def __init__(self, size: int, names: Sequence[str]) -> None:
        self.size, self.names = size, list(names)

    def draw(self, number: int) -> Study:
        from medcodi.phantom import make_study

        study = make_study(PHANTOM_SEED, number, self.size)
        values = {name: v for name, v in study.values.items() if name in self.names}
        return Study(study.study_id, study.patient_id, values)


@dataclass
class Neighbour:
    """The training study whose value is nearest to a generated one. `usual` is the median distance
    of held-out values to their nearest, to read `distance` by; `unit` says what both are."""

    name: str
    study_id: str
    distance: float
    usual: float
    unit: str
    value: Any


class TrainingBank:
    """Pictures (as thumbnails) and texts of the training studies, read in the background.

    Pictures: root mean squared difference of greys of 32 x 32 pixels. Texts: 1 - cosine of TF-IDF
    of words and word pairs. A small distance to one study and not to others tells of a copy; a
    large one proves nothing (see the guide on privacy).
    """

    def __init__(self, prepared: str | Path, modalities: Sequence[Modality]) -> None:
        self.prepared = Path(prepared)
        self.modalities = {
            m.name: m for m in modalities if m.storage in (Storage.IMAGE, Storage.TEXT)
        }
        self._train = PreparedDataset.load(prepared, "train", also=list(self.modalities))
        self.count = min(len(self._train), MAX_TRAINING)
        self._known: dict[str, tuple[np.ndarray, list[Any]]] = {}  # name -> rows, values
        self._usual: dict[str, float] = {}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """ValueError with what went wrong while reading."""
        if self._error is not None:
            raise ValueError(f"{self.prepared} could not be read: {self._error}") from self._error
        return not self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join()

    def find(self, stored: Mapping[str, Any]) -> list[Neighbour]:
        """The nearest training value of each generated one, pictures and texts; [] while the
        studies are being read."""
        if not self.ready:
            return []
        found = []
        for name, value in stored.items():
            if name in self._known:
                rows, values = self._known[name]
                distances = self._distances(name, [value], values)[0]
                nearest = int(distances.argmin())
                study = self._train[int(rows[nearest])]
                found.append(
                    Neighbour(
                        name,
                        study.study_id,
                        float(distances[nearest]),
                        self._usual[name],
                        self._unit(name),
                        study.values[name],
                    )
                )
        return found

    def _read(self) -> None:
        try:
            for name in [n for n in self.modalities if n in self._train.names]:
                rows, values = self._column(self._train, name, self.count)
                if not values:
                    continue
                for split in HELD_OUT:
                    held_out = PreparedDataset.load(self.prepared, split, also=[name])
                    _, strangers = self._column(held_out, name, MAX_HELD_OUT)
                    if strangers:
                        break
                least = self._distances(name, strangers, values).min(axis=1) if strangers else []
                self._usual[name] = float(np.median(least)) if len(least) else float("nan")
                self._known[name] = rows, values
        except Exception as error:  # shown by `ready`: a thread has no other way to say it
            self._error = error

    def _column(self, data: PreparedDataset, name: str, count: int) -> tuple[np.ndarray, list[Any]]:
        """The first values of a modality, pictures as thumbnails, and their rows."""
        rows = np.flatnonzero(data.present[:, data.names.index(name)])[:count]
        values = []
        for start in range(0, len(rows), CHUNK):
            studies = data.batch(rows[start : start + CHUNK])
            values += [self._small(name, study.values[name]) for study in studies]
        return rows, values

    def _small(self, name: str, value: Any) -> Any:
        return fit(value, THUMBNAIL) if self.modalities[name].storage == Storage.IMAGE else value

    def _unit(self, name: str) -> str:
        picture = self.modalities[name].storage == Storage.IMAGE
        return "RMS of greys" if picture else "1 - cosine of TF-IDF"

    def _distances(self, name: str, made: list[Any], known: list[Any]) -> np.ndarray:
        if self.modalities[name].storage != Storage.IMAGE:
            return text_distances(made, known)
        small = np.stack([self._small(name, value) for value in made])
        return np.sqrt(np.maximum(image_distances(small, np.stack(known)), 0))
