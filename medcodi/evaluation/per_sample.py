"""Values of metrics by study: what a table hands over beside its figures, as samples/ID.csv.

A figure that is defined for a set alone (a Frechet distance, an AUC) has no value a study.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcodi.data.study import Study
from medcodi.files import written

HEAD = ("system", "metric", "study_id", "patient_id", "value")
PAIRS_HEAD = ("study_id", "reference", "hypothesis")


@dataclass
class SampleValues:
    """One metric of one system: `values` (N,) in the order of `studies`, NaN where it has none."""

    system: str
    metric: str
    studies: Sequence[Study]
    values: np.ndarray

    def __post_init__(self) -> None:
        self.values = np.asarray(self.values, float)
        if self.values.shape != (len(self.studies),):
            raise ValueError(
                f"{self.system}, {self.metric}: expected a value for each of {len(self.studies)} "
                f"studies, got an array of {self.values.shape}"
            )


@dataclass
class Recorded:
    """The same, as a csv gives it back."""

    studies: list[str]
    patients: list[str]
    values: np.ndarray


def write_samples(path: Path, samples: Sequence[SampleValues]) -> None:
    """One row a value, to full precision; an empty value does not apply."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for one in samples:
            for study, value in zip(one.studies, one.values, strict=True):
                told = "" if np.isnan(value) else repr(float(value))
                writer.writerow([one.system, one.metric, study.study_id, study.patient_id, told])


def read_samples(path: Path) -> dict[tuple[str, str], Recorded]:
    """(system, metric) -> its values. ValueError for a file that was not written by
    `write_samples`."""
    found: dict[tuple[str, str], Recorded] = {}
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        head = tuple(next(reader, ()))
        if head != HEAD:
            raise ValueError(f"{path}: expected the columns {', '.join(HEAD)}, got {head}")
        rows: dict[tuple[str, str], list[tuple[str, str, float]]] = {}
        for system, metric, study, patient, value in reader:
            number = float(value) if value else np.nan
            rows.setdefault((system, metric), []).append((study, patient, number))
    for key, told in rows.items():
        studies, patients, values = zip(*told, strict=True)
        found[key] = Recorded(list(studies), list(patients), np.array(values))
    return found


def write_pairs(
    path: Path, studies: Sequence[Study], references: Sequence[str], hypotheses: Sequence[str]
) -> None:
    """Real and generated reports side by side, as packages of report metrics take them (RadEval's
    `refs` and `hyps`). The references are the reports of the data set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(PAIRS_HEAD)
        rows = zip(studies, references, hypotheses, strict=True)
        writer.writerows([study.study_id, real, made] for study, real, made in rows)
