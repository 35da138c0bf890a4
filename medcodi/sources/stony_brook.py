"""Source `stony_brook`: the collection COVID-19-NY-SBU of The Cancer Imaging Archive, DICOM tree
and clinical table, as the hybrid data of Kikuchi et al. (J Imaging Inform Med 2024, datasets and
preprocessing; Table 1) were made of it.

The paper's rules, each a switch: cases without a chest radiograph are left out, of the others the
first frontal one is taken (1,384 cases become 1,343 in its text, 1,342 in its abstract); of 130
variables those with more than 5 % missing "and similar items" are left out, which leaves the 13 of
Table 1; a missing category becomes a category of its own, a missing number the mean of the training
and validation cases. The order of its split is 6 : 2 : 2.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from medcodi.config_io import build_dataclass, unknown_key
from medcodi.data.storage import FieldSpec
from medcodi.data.study import Study, split_of
from medcodi.data.table import TableSchema
from medcodi.data.writer import PreparedWriter
from medcodi.sources.archive.archive import Archive, Assembly
from medcodi.sources.archive.front_and_table import FrontAndTableOptions
from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.options import Record
from medcodi.sources.archive.prepare import prepare_archive
from medcodi.sources.archive.state import State
from medcodi.sources.archive.work import read_by_patient
from medcodi.sources.dicom.view import View
from medcodi.sources.inference import infer_columns
from medcodi.sources.mapping import ColumnMapping
from medcodi.sources.reading import read_table
from medcodi.sources.stony_brook_columns import paper_columns
from medcodi.sources.tables import MISSING

PATIENT = "to_patient_id"
VARIABLES = ("paper", "rule")
UNKNOWN = "missing"  # the category of a missing one


@dataclass
class StonyBrookOptions(FrontAndTableOptions):
    """`variables`: "paper" (the 13) or "rule" (each column with at most `max_missing` missing among
    the cases that are taken; types inferred). `require_image`: leave out cases without a frontal
    radiograph. `impute_categories`, `impute_numbers`: as the paper; off, what is missing stays
    missing."""

    variables: str = "paper"
    max_missing: float = 0.05
    require_image: bool = True
    impute_categories: bool = True
    impute_numbers: bool = True
    body_parts: list[str] = field(default_factory=lambda: ["CHEST", "PORT CHEST", "THORAX", "LUNG"])

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_sections:
            raise ValueError("options.text_sections: the source stony_brook has no reports")
        if self.variables not in VARIABLES:
            raise unknown_key(self.variables, VARIABLES, "options.variables")
        if not 0 <= self.max_missing <= 1:
            raise ValueError(f"options.max_missing is a share, got {self.max_missing}")
        if self.variables != "rule" and self.max_missing != StonyBrookOptions.max_missing:
            raise ValueError("options.max_missing belongs to the variables of the rule, got paper")


def _is_frontal(record: Record) -> bool:
    return record.view == View.FRONT.value


class StonyBrookArchive(Archive):
    """`frame`: the clinical table, texts."""

    name = "stony_brook"
    task = staticmethod(read_by_patient)
    options: StonyBrookOptions

    def __init__(
        self, source: Path, frame: pd.DataFrame, options: StonyBrookOptions, key: bytes
    ) -> None:
        super().__init__(source, options, key)
        self.frame = frame
        self.columns: list[ColumnMapping] = []

    @property
    def fields(self) -> list[FieldSpec]:
        return self.options.fields()

    @property
    def schemas(self) -> dict[str, TableSchema]:
        return {self.options.table: TableSchema([column.schema_column for column in self.columns])}

    def depends_on(self) -> Any:
        names = (
            "front",
            "table",
            "variables",
            "max_missing",
            "require_image",
            "impute_categories",
            "impute_numbers",
        )
        digest = hashlib.sha256(self.frame.to_csv(index=False).encode()).hexdigest()
        return [*(getattr(self.options, name) for name in names), digest]

    def hashed(self, patient: str) -> str:
        return keyed_hash(self.key, "patient", patient.upper())

    def choose_columns(self, cases: pd.DataFrame) -> None:
        """Set `columns` from the cases that are taken. Raises ValueError for a column of the paper
        that is not there."""
        if self.options.variables == "paper":
            self.columns = paper_columns()
            for column in self.columns:
                if column.column not in cases.columns:
                    raise unknown_key(
                        column.column, cases.columns, "the columns of the clinical table"
                    )
        else:
            absent = cases.isin(["", *MISSING]).mean()
            kept = [
                name
                for name in cases.columns
                if name != PATIENT and absent[name] <= self.options.max_missing
            ]
            decisions = infer_columns(cases[kept], list(MISSING), {})
            self.columns = [
                decision.mapping for decision in decisions if decision.mapping is not None
            ]
        if self.options.impute_categories:
            for column in self.columns:
                if column.schema_column.is_discrete:
                    column.categories.append(UNKNOWN)
                    column.schema_column.categories.append(UNKNOWN)

    def assembly(self, writer: PreparedWriter, private: Path, state: State) -> "StonyBrookAssembly":
        return StonyBrookAssembly(self, writer, private, state)

    def ready(self, state: State) -> None:
        self.with_image = {
            study
            for study, files in state.studies()
            if any(_is_frontal(record) for _, record in files)
        }
        has_image = self.frame[PATIENT].map(lambda patient: self.hashed(patient) in self.with_image)
        self.cases = self.frame[has_image] if self.options.require_image else self.frame
        self.choose_columns(self.cases)


class StonyBrookAssembly(Assembly):
    archive: StonyBrookArchive

    def add_studies(self) -> None:
        archive, options = self.archive, self.archive.options
        rows = {
            archive.hashed(row[PATIENT]): self._row(row) for row in archive.cases.to_dict("records")
        }
        self._impute(rows)
        known = {archive.hashed(patient) for patient in archive.frame[PATIENT]}
        with_image = sum(
            archive.hashed(patient) in archive.with_image for patient in archive.frame[PATIENT]
        )
        self.counts.update(
            {
                "cases of the table": len(known),
                "cases without a frontal image": len(known) - with_image,
            }
        )
        for patient, files in self.state.studies():
            reason = (
                "the case has no frontal image"
                if patient in known
                else "the clinical table has no such patient"
            )
            for path, _ in files if patient not in rows else []:
                self.reject(path, reason)
        for patient, row in rows.items():
            ((values, flags),) = self.choose(self._frontal(patient))
            self.add(Study(patient, patient, {**values, options.table: row}), flags)

    def _frontal(self, patient: str) -> list[tuple[bytes, Record]]:
        """Frontal images of the patient; the others are listed."""
        files = self.state.files(patient)
        for path, record in files:
            if not _is_frontal(record):
                self.reject(path, "not a frontal image: the first frontal one of a case is taken")
        return [(path, record) for path, record in files if _is_frontal(record)]

    def _row(self, row: dict[str, str]) -> dict[str, Any]:
        """Cells as stored, None where missing; those that cannot be read are listed and missing."""
        cells: dict[str, Any] = {}
        paper = self.archive.options.variables == "paper"
        for column in self.archive.columns:
            raw = row[column.column]
            cells[column.name] = None
            if raw in ("", *MISSING):
                continue
            try:
                cells[column.name] = column.parse("".join(raw.lower().split()) if paper else raw)
            except ValueError as error:
                self.writer.reject(f"{self.archive.hashed(row[PATIENT])}/{column.name}", str(error))
        return cells

    def _impute(self, rows: dict[str, dict[str, Any]]) -> None:
        """Fill what is missing, as the options say; counts the cells by column."""
        options, writer = self.archive.options, self.writer
        seen = [
            row
            for patient, row in rows.items()
            if split_of(patient, writer.validation, writer.test) != "test"
        ]
        for column in self.archive.columns:
            name, discrete = column.name, column.schema_column.is_discrete
            if not (options.impute_categories if discrete else options.impute_numbers):
                continue
            numbers = [] if discrete else [row[name] for row in seen if row[name] is not None]
            if not discrete and not numbers:
                continue
            mean = None if discrete else sum(numbers) / len(numbers)
            filled = UNKNOWN if discrete else round(mean) if column.type == "integer" else mean
            for row in rows.values():
                if row[name] is None:
                    row[name] = filled
                    self.counts[f"imputed {name}"] += 1


def find_table(source: Path) -> Path:
    """The clinical table in `source`: the one csv file with a column of patients. Raises ValueError
    for none or several."""
    found = []
    for path in sorted(source.glob("*.csv")):
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            if PATIENT in file.readline():
                found.append(path)
    if len(found) != 1:
        raise ValueError(
            f"{source} holds {len(found)} csv files with a column {PATIENT}, expected one: name it "
            "with --clinical"
        )
    return found[0]


def prepare_stony_brook(
    source_dir: str | Path,
    options: dict[str, Any] | StonyBrookOptions,
    out_dir: str | Path,
    clinical: str | Path | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    **writing: Any,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from the DICOM tree `source_dir` and the clinical table
    (`clinical`, default: the csv file in `source_dir` that has a column to_patient_id).

    `writing`: further arguments of `prepare_archive`. Returns counts. Raises ValueError for a table
    without patients or with one twice.
    """
    source = Path(source_dir)
    options = build_dataclass(StonyBrookOptions, options, "options")
    if not source.is_dir():
        raise FileNotFoundError(f"source folder {source} does not exist")
    path = Path(clinical) if clinical else find_table(source)
    frame = read_table(path).map(str.strip)
    if PATIENT not in frame.columns:
        raise unknown_key(PATIENT, frame.columns, f"the columns of {path}")
    if frame[PATIENT].duplicated().any() or (frame[PATIENT] == "").any():
        raise ValueError(f"{path}: the column {PATIENT} must name each patient once")
    return prepare_archive(
        source,
        lambda key: StonyBrookArchive(source, frame, options, key),
        out_dir,
        validation=validation,
        test=test,
        **writing,
    )
