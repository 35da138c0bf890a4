"""The mapping of the folder + csv source: which columns of the csv make which modality. Parsed strictly."""

import math
from dataclasses import dataclass, field
from typing import Any

from medcodi.config import build_dataclass, unknown_key
from medcodi.data.storage import FieldSpec, check_cell
from medcodi.data.table import Column, TableSchema

DUPLICATES = ("first", "separate")
BLANK_STUDY = ("separate", "together")
ON_WRONG_SIZE = ("resize", "reject")


@dataclass
class ImageMapping:
    """Rows whose columns hold one of the values in `where` (column -> values; empty = every row) give the file in
    `path_column`."""

    path_column: str
    where: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class ReportMapping:
    column: str


@dataclass
class ColumnMapping:
    """A csv column as a table column `name` of `type`. `map` turns raw values into others (null = missing), `missing`
    lists raw values that stand for no value; numbers outside [min, max] are refused. Without `map`, raw values are
    taken as they stand."""

    column: str
    type: str
    name: str = ""
    categories: list[str] = field(default_factory=list)
    map: dict[str, str | None] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    min: float | None = None
    max: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or self.column
        self.schema_column = Column(self.name, self.type, list(self.categories), unit=self.unit)

    def parse(self, raw: str) -> Any:
        """Stored value of a raw cell that is not blank, None where it stands for no value. Raises ValueError with the
        reason."""
        if raw in self.missing:
            return None
        value = self.map.get(raw, raw)
        if value is None:
            return None
        if not self.schema_column.is_discrete and "_" in value:  # float("1_0") is 10
            raise ValueError(f"expected a number, got {raw!r}")
        cell = check_cell(self.schema_column, value)
        low, high = -math.inf if self.min is None else self.min, math.inf if self.max is None else self.max
        if not self.schema_column.is_discrete and not low <= cell <= high:
            raise ValueError(f"{raw!r} lies outside the plausible range [{low:g}, {high:g}]")
        return cell


@dataclass
class TableMapping:
    """`missing` lists raw values that stand for no value in every column (a blank always does)."""

    columns: list[ColumnMapping]
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for column in self.columns:
            column.missing = [*column.missing, *self.missing]


@dataclass
class FolderMapping:
    """csv with one row per image (or per study). Rows with equal `patient_id` and `study_id` columns are one study.

    `blank_study`: rows with a blank study column are each their own study ("separate") or one per patient ("together").
    `duplicates`: a second image of a name makes a further study of the patient ("separate") or is listed as rejected
    ("first"). `on_wrong_size`: images that are not `size` x `size` are padded and resized, or rejected.
    `invert_column`: 1 / true marks an image whose greys are reversed. `row_id`: column that names a row in rejects.csv.
    """

    csv: str
    patient_id: str
    study_id: list[str]
    images: dict[str, ImageMapping] = field(default_factory=dict)
    reports: dict[str, ReportMapping] = field(default_factory=dict)
    tables: dict[str, TableMapping] = field(default_factory=dict)
    size: int = 256
    on_wrong_size: str = "resize"
    max_value_16bit: int = 65535
    invert_column: str | None = None
    row_id: str | None = None
    blank_study: str = "separate"
    duplicates: str = "separate"

    def __post_init__(self) -> None:
        for key, valid in (("duplicates", DUPLICATES), ("blank_study", BLANK_STUDY), ("on_wrong_size", ON_WRONG_SIZE)):
            if getattr(self, key) not in valid:
                raise ValueError(f"mapping.{key} must be one of {valid}, got {getattr(self, key)!r}")
        if self.size < 1:
            raise ValueError(f"mapping.size must be at least 1, got {self.size}")
        if not self.study_id:
            raise ValueError("mapping.study_id must name at least one column")

    @property
    def fields(self) -> list[FieldSpec]:
        kinds = (("image", self.images), ("text", self.reports), ("table", self.tables))
        return [FieldSpec(name, storage) for storage, names in kinds for name in names]

    @property
    def schemas(self) -> dict[str, TableSchema]:
        return {name: TableSchema([c.schema_column for c in table.columns]) for name, table in self.tables.items()}

    def check_columns(self, available: list[str], where: str) -> None:
        """Raises ValueError ("did you mean") for a column that the csv does not have."""
        used = [self.patient_id, *self.study_id, self.invert_column, self.row_id]
        for image in self.images.values():
            used += [image.path_column, *image.where]
        used += [report.column for report in self.reports.values()]
        used += [column.column for table in self.tables.values() for column in table.columns]
        for column in used:
            if column is not None and column not in available:
                raise unknown_key(column, available, f"the columns of {where}")


def parse_mapping(values: dict[str, Any], where: str = "mapping") -> FolderMapping:
    """FolderMapping from a plain dict. Raises ValueError for unknown keys, missing keys and wrong types."""
    return build_dataclass(FolderMapping, values, where)
