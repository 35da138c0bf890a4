"""The filter of a study: one guard a modality, and what several modalities say together.

    privacy = PrivacyFilter.fit("data/prepared")       # the folder that the model was trained on
    verdict = privacy.judge({"frontal": images, "report": texts})
    images[verdict.keep]

Legend: N studies, T training studies.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.config_io import unknown_key
from medcodi.data.prepared import PreparedDataset, dataset_identity
from medcodi.data.study import Study
from medcodi.files import staged
from medcodi.identity import fingerprint
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.modalities.base import Modality
from medcodi.privacy.guard import Guard
from medcodi.privacy.images import ImageGuard
from medcodi.privacy.rows import RowGuard
from medcodi.privacy.texts import TextGuard

logger = logging.getLogger(__name__)

GUARDS: dict[str, type[Guard]] = {g.storage: g for g in (ImageGuard, TextGuard, RowGuard)}
INDEX, VERSION = "filter.json", 1
LINKED = "two modalities have the same training study as their closest one"
SMALL_IMAGE = 128  # pixels; larger ones get a DenseNet-121
SMALL = FitSettings("tiny", num_epochs=12, min_steps=400, learning_rate=3e-3, patience=50)


@dataclass(frozen=True)
class Verdict:
    """`keep` (N,) bool; `reasons` one text a study, "" where it is kept; `scores` by modality (N,),
    NaN where a study has no value."""

    keep: np.ndarray
    reasons: list[str]
    scores: dict[str, np.ndarray]


class PrivacyFilter:
    """`fit` it on the training split of a prepared folder, or `load` it; then `judge`."""

    def __init__(
        self,
        guards: dict[str, Guard],
        studies: dict[str, np.ndarray],
        about: dict[str, Any],
    ) -> None:
        """`studies[name]` (T,) is the training study of each record of a guard."""
        self.guards, self.studies, self.about = guards, studies, about

    @classmethod
    def fit(
        cls,
        prepared: str | Path,
        names: Sequence[str] | None = None,
        false_match_rate: float = 0.01,
        image_threshold: float | None = None,
        settings: FitSettings | None = None,
        seed: int = 0,
    ) -> "PrivacyFilter":
        """Fit a guard for each modality of a prepared folder (default: all that can be judged).

        Args:
            false_match_rate: share of held-out patients that each guard would drop; the held-out
                patients are those of validation and test.
            image_threshold: probability above which an image is dropped instead (the paper: 0.5).
            settings: of the networks; default by image size.

        ValueError for an unknown name and for too few held-out values.
        """
        train = PreparedDataset.load(prepared, "train", also=names or ())
        fields = {spec.name: spec.storage for spec in train.fields}
        for name in names or ():
            if name not in fields:
                raise unknown_key(name, fields, f"the modalities of {prepared}")
        chosen = [n for n in names or fields if fields[n] in GUARDS]
        training = _studies(train)
        strangers = [
            study
            for split in ("validation", "test")
            for study in _studies(PreparedDataset.load(prepared, split, also=chosen))
        ]
        guards, studies = {}, {}
        for name in chosen:
            rows = [i for i, study in enumerate(training) if study.values.get(name) is not None]
            values = [training[i].values[name] for i in rows]
            patients = [training[i].patient_id for i in rows]
            logger.info("fitting the guard of %s on %d training values", name, len(rows))
            guard = _fit(fields[name], values, patients, train.schemas.get(name), settings, seed)
            held_out = [s.values[name] for s in strangers if s.values.get(name) is not None]
            guard.calibrate(held_out, false_match_rate)
            if image_threshold is not None and fields[name] == ImageGuard.storage:
                guard.threshold = image_threshold
            guards[name], studies[name] = guard, np.array(rows)
        about = {
            "data": dataset_identity(prepared),
            "false_match_rate": false_match_rate,
            "thresholds": {name: guard.threshold for name, guard in guards.items()},
            "training_studies": len(training),
            "held_out_studies": len(strangers),
        }
        return cls(guards, studies, about)

    def summary(self, outputs: Sequence[str]) -> dict[str, Any]:
        """What a manifest says of the filter: which outputs it judges, and how strictly."""
        return {
            "filter": fingerprint(self.about),
            "judged": [name for name in outputs if name in self.guards],
            "false_match_rate": self.about["false_match_rate"],
        }

    def check(self, modalities: Mapping[str, Modality], data_hash: str = "") -> None:
        """ValueError where it cannot judge the outputs `modalities` of a model: none has a guard,
        another resolution, other columns, or a model that was trained on other data than
        `data_hash` ("": the model does not say)."""
        judged = [name for name in modalities if name in self.guards]
        if not judged:
            raise ValueError(
                f"this filter judges {', '.join(self.guards)}; got {', '.join(modalities)}"
            )
        for name in judged:
            self.guards[name].check(modalities[name])
        own = fingerprint(self.about["data"])
        if data_hash and data_hash != own:
            raise ValueError(
                f"this filter was fitted on the data {own}, the model was trained on {data_hash}: "
                "fit one on the prepared folder of the model (medcodi privacy fit)"
            )

    def judge(self, values: Mapping[str, Sequence[Any]]) -> Verdict:
        """N generated studies, modality -> N stored values (None where a study has none).
        Modalities without a guard are not looked at. ValueError when none has one."""
        judged = [name for name in values if name in self.guards]
        if not judged:
            raise ValueError(
                f"this filter judges {', '.join(self.guards)}; got {', '.join(values) or 'nothing'}"
            )
        count = len(values[judged[0]])
        reasons: list[list[str]] = [[] for _ in range(count)]
        alerted: list[list[int]] = [[] for _ in range(count)]
        scores = {}
        for name in judged:
            guard, scores[name] = self.guards[name], np.full(count, np.nan)
            rows = [i for i, value in enumerate(values[name]) if value is not None]
            if not rows:
                continue
            match = guard.match([values[name][i] for i in rows])
            scores[name][rows] = match.score
            for row, score, record in zip(rows, match.score, match.record, strict=True):
                if score > guard.threshold:
                    reasons[row].append(f"{name} {guard.what}")
                if score > guard.alert:
                    alerted[row].append(int(self.studies[name][record]))
        for row, studies in enumerate(alerted):
            if not reasons[row] and len(set(studies)) < len(studies):
                reasons[row].append(LINKED)
        texts = ["; ".join(found) for found in reasons]
        return Verdict(np.array([not text for text in texts]), texts, scores)

    def save(self, folder: str | Path) -> Path:
        """Write the filter; it holds features of training records: keep it as private as these."""
        with staged(folder, overwrite=True) as temporary:
            for name, guard in self.guards.items():
                guard.save(temporary / name)
            document = {
                "version": VERSION,
                "about": self.about,
                "guards": {name: guard.storage for name, guard in self.guards.items()},
                "studies": {name: rows.tolist() for name, rows in self.studies.items()},
            }
            (temporary / INDEX).write_text(json.dumps(document))
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "PrivacyFilter":
        """A filter that `save` wrote. FileNotFoundError for a folder without one, ValueError for
        one of another version."""
        folder = Path(folder)
        if not (folder / INDEX).is_file():
            raise FileNotFoundError(f"{folder} holds no privacy filter: it has no {INDEX}")
        document = json.loads((folder / INDEX).read_text())
        if document.get("version") != VERSION:
            raise ValueError(
                f"the filter in {folder} has version {document.get('version')}, expected {VERSION}:"
                " fit it again"
            )
        guards = {n: GUARDS[storage].load(folder / n) for n, storage in document["guards"].items()}
        studies = {name: np.array(rows) for name, rows in document["studies"].items()}
        return cls(guards, studies, document["about"])


def _studies(dataset: PreparedDataset) -> list[Study]:
    return dataset.batch(range(len(dataset)))


def _fit(
    storage: str,
    values: list[Any],
    patients: list[str],
    schema: Any,
    settings: FitSettings | None,
    seed: int,
) -> Guard:
    if storage == TextGuard.storage:
        return TextGuard.fit(values, patients)
    if storage == RowGuard.storage:
        return RowGuard(values, schema)
    images = np.stack(values)
    small = images.shape[1] <= SMALL_IMAGE
    return ImageGuard.fit(images, patients, settings or (SMALL if small else FitSettings()), seed)
