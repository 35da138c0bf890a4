"""Findings of a data set: the phantom's truth, columns of the table, or what its reports say.

Legend: N studies, K findings. A label is 1 or 0, NaN where it is unknown (masked everywhere).
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medcodi.config_io import unknown_key
from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.evaluation.studies import Studies
from medcodi.labeler import NEGATIVE, POSITIVE, Labeler

NO_FINDING, SUPPORT = "No Finding", "Support Devices"
PHANTOM_FINDINGS = {
    "Atelectasis": ("atelectasis",),
    "Cardiomegaly": ("cardiomegaly",),
    "Consolidation": ("consolidation",),
    "Edema": ("edema",),
    "Lung Lesion": ("nodule",),
    "Pleural Effusion": ("effusion_left", "effusion_right"),
    "Pneumothorax": ("pneumothorax",),
    SUPPORT: ("pacemaker", "central_line", "endotracheal_tube"),
}


class Labels(ABC):
    """Where labels come from: `names` (K of them), `source` in words, `of(studies)` (N, K)."""

    names: tuple[str, ...]
    source: str

    @abstractmethod
    def of(self, studies: Sequence[Study]) -> np.ndarray: ...


class TruthLabels(Labels):
    """What the phantom rendered, under the names of CheXpert's observations."""

    names, source = tuple(PHANTOM_FINDINGS), "truth of the phantom"

    def of(self, studies: Sequence[Study]) -> np.ndarray:
        rows = [
            [any(_shown(s.truth[k]) for k in keys) for keys in PHANTOM_FINDINGS.values()]
            for s in studies
        ]
        return np.array(rows, float).reshape(len(rows), len(self.names))


def _shown(value: Any) -> bool:
    return value != "none" if isinstance(value, str) else value > 0


class ReportLabels(Labels):
    """What the labeler reads in the report of a study: not mentioned and uncertain are unknown
    (MedCoDi-M, Table 1)."""

    def __init__(self, labeler: Labeler, report: str) -> None:
        self.labeler, self.report = labeler, report
        rule = labeler.vocabulary.no_finding
        self.no_finding = rule.observation if rule else None
        self.names = tuple(name for name in labeler.columns if name != self.no_finding)
        self.source = f"labeler on the {report} of the study"

    def of(self, studies: Sequence[Study]) -> np.ndarray:
        labels = self.labeler.label([study.values.get(self.report) for study in studies])
        values = labels[list(self.names)].to_numpy(float)
        return np.where(np.isin(values, (POSITIVE, NEGATIVE)), values, np.nan)


class ColumnLabels(Labels):
    """Columns of the table, as `evaluation.labels` names them."""

    def __init__(
        self, rules: Mapping[str, Mapping[str, Any]], table: str, schema: TableSchema
    ) -> None:
        self.rules, self.table = {name: dict(rule) for name, rule in rules.items()}, table
        self.names, self.source = tuple(rules), f"columns of {table}"
        categories = {column.name: column.categories for column in schema.columns}
        for name, rule in self.rules.items():
            where = f"evaluation.labels.{name}"
            for key in rule:
                if key not in ("column", "positive", "negative"):
                    raise unknown_key(key, ("column", "positive", "negative"), where)
            if rule.get("column") not in categories:
                raise unknown_key(str(rule.get("column")), categories, f"{where}.column")
            for value in [*rule.get("positive", []), *rule.get("negative", [])]:
                if value not in categories[rule["column"]]:
                    raise unknown_key(
                        str(value),
                        categories[rule["column"]],
                        f"{where} (values of {rule['column']})",
                    )
            if not rule.get("positive"):
                raise ValueError(
                    f"{where} needs `positive`, a list of values of the column {rule['column']!r}"
                )

    def of(self, studies: Sequence[Study]) -> np.ndarray:
        rows = [study.values.get(self.table) or {} for study in studies]
        return np.array(
            [[self._label(row, r) for r in self.rules.values()] for row in rows], float
        ).reshape(len(rows), len(self.names))

    @staticmethod
    def _label(row: Mapping[str, Any], rule: Mapping[str, Any]) -> float:
        value = row.get(rule["column"])
        if value is None:
            return np.nan
        if value in rule["positive"]:
            return 1.0
        return 0.0 if value in rule.get("negative", [value]) else np.nan


class LabelSources:
    """The labels that a recipe's studies have."""

    def __init__(self, studies: Studies) -> None:
        self.studies, self.settings = studies, studies.settings

    @functools.cached_property
    def labeler(self) -> Labeler:
        return Labeler.from_vocabulary(self.settings.vocabulary)

    @functools.cached_property
    def own(self) -> Labels | None:
        """Of the data set: the recipe's columns, else the phantom's truth, else what reports say;
        None without any."""
        if self.settings.labels:
            table = self.studies.name("table")
            schema = self.studies.split("train").schemas[table]
            return ColumnLabels(self.settings.labels, table, schema)
        return TruthLabels() if self.studies.have_truth else self.of_reports

    @functools.cached_property
    def of_reports(self) -> ReportLabels | None:
        """What the labeler reads; None where the data set has no reports."""
        reports = self.studies.name("T")
        has_reports = reports in self.studies.split("train").names
        return ReportLabels(self.labeler, reports) if has_reports else None
