"""The mapping of the folder + csv source: which columns of the csv make which modality. Parsed
strictly."""

import math
import re
from dataclasses import dataclass, field, fields
from typing import Any

from medcodi.config_io import build_dataclass, unknown_key
from medcodi.data.greys import GreyLimits
from medcodi.data.notation import Notation
from medcodi.data.sections import SECTIONS
from medcodi.data.storage import FieldSpec
from medcodi.data.table import Column, TableSchema
from medcodi.sources.archive.options import LOOKS

DUPLICATES = ("first", "separate")
BLANK_STUDY = ("separate", "together")
ON_WRONG_SIZE = ("resize", "reject")
PLAIN_SUSPECTS = ("accept", "flag", "refuse")  # plain images have no window to ignore
DATETIME, EPOCH = "datetime", "1970-01-01"


@dataclass
class ImageMapping:
    """Rows whose columns hold one of the values in `where` (column -> values; empty = every row)
    give the file in `path_column`."""

    path_column: str
    where: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class ReportMapping:
    """`sections`: those that may stand for the report, in this order (data/sections.py; none: the
    whole text)."""

    column: str
    sections: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for section in self.sections:
            if section not in SECTIONS:
                raise unknown_key(section, SECTIONS, "sections")


@dataclass(kw_only=True)
class ColumnRules:
    """How raw cells become values. `map` turns raw values into others (null = missing; the key ""
    gives blanks a value), `missing` lists raw values that stand for no value; numbers outside [min,
    max] are refused. Without `map`, raw values are taken as they stand. Dates become days since
    `origin` (ISO 8601, as the values are unless `date_format` says it in the directives of
    strptime, or "excel" for serial days); two-digit years lie in the 100 years from `first_year`.

    `decimal` and `thousands` are the marks inside numbers, `prefix` and `suffix` stand around them,
    `places` and `padded` say how they are written again, `censored` which texts stand for a number
    beyond a bound (medcodi.data.notation). `keep` lists texts that are values here though they
    stand for no value elsewhere, such as "-" for negative."""

    name: str = ""
    categories: list[str] = field(default_factory=list)
    map: dict[str, str | None] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    min: float | None = None
    max: float | None = None
    unit: str = ""
    keep: list[str] = field(default_factory=list)
    origin: str = ""
    date_format: str = ""
    first_year: int | None = None
    decimal: str = ""
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    places: int | None = None
    padded: bool = True
    censored: dict[str, float] = field(default_factory=dict)


@dataclass
class ColumnMapping(ColumnRules):
    """A csv column as a table column `name` of `type`; datetime becomes a continuous column."""

    column: str
    type: str

    def __post_init__(self) -> None:
        self.name = self.name or self.column
        kind, unit = self.type, self.unit
        if self.type == DATETIME:
            self.origin = self.origin or EPOCH
            kind, unit = "continuous", f"days since {self.origin}"
        given = {f.name: getattr(self, f.name) for f in fields(Notation)}
        try:
            notation = Notation(**given | {"decimal": self.decimal or "."})
        except ValueError as error:
            raise ValueError(f"column {self.column!r}: {error}") from None
        self.schema_column = Column(
            self.name, kind, list(self.categories), unit=unit, notation=notation
        )

    @property
    def is_discrete(self) -> bool:
        return self.schema_column.is_discrete

    def is_missing(self, raw: str) -> bool:
        if raw == "":
            return "" not in self.map
        return raw in self.missing and raw not in self.keep

    def parse(self, raw: str) -> Any:
        """Stored value of a raw cell, None where it stands for no value. Raises ValueError with the
        reason."""
        if self.is_missing(raw):
            return None
        value = self.map.get(raw, raw)
        if value is None:
            return None
        if self.is_discrete:
            if value not in self.schema_column.categories:
                raise ValueError(f"{value!r} is not one of {self.schema_column.categories}")
            return value
        cell = self.schema_column.notation.read(value)
        if self.type == "integer" and not cell.is_integer() and cell not in self.censored.values():
            raise ValueError(f"expected an integer, got {raw!r}")
        low, high = (
            -math.inf if self.min is None else self.min,
            math.inf if self.max is None else self.max,
        )
        if not low <= cell <= high:
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
    """csv with one row per image (or per study). Rows with equal `patient_id` and `study_id`
    columns are one study.

    `blank_study`: rows with a blank study column are each their own study ("separate") or one per
    patient ("together"). `duplicates`: a second image of a name makes a further study of the
    patient ("separate") or is listed as rejected ("first"). `on_wrong_size`: images that are not
    `size` x `size` are padded and resized, or rejected. `patient_pattern`: regular expression that
    the whole patient column matches, whose first group is the patient. `invert_column`: 1 / true
    marks an image whose greys are reversed. `look`: "stored", "min_max" or "equalised" greys.
    `suspects`: images that are black, white or flat (`grey_limits`, data/greys.py) are listed
    ("flag"; one of a single grey is refused), refused, or accepted; what looks like text burned in
    is listed beside them. `row_id`: column that names a row in rejects.csv.
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
    look: str = "stored"
    suspects: str = "flag"
    grey_limits: GreyLimits = field(default_factory=GreyLimits)
    row_id: str | None = None
    blank_study: str = "separate"
    duplicates: str = "separate"
    patient_pattern: str | None = None

    def __post_init__(self) -> None:
        for key, valid in (
            ("duplicates", DUPLICATES),
            ("blank_study", BLANK_STUDY),
            ("on_wrong_size", ON_WRONG_SIZE),
            ("look", LOOKS),
            ("suspects", PLAIN_SUSPECTS),
        ):
            if getattr(self, key) not in valid:
                raise ValueError(
                    f"mapping.{key} must be one of {valid}, got {getattr(self, key)!r}"
                )
        if self.size < 1:
            raise ValueError(f"mapping.size must be at least 1, got {self.size}")
        if self.patient_pattern is not None:
            _check_pattern(self.patient_pattern)
        if not self.study_id:
            raise ValueError("mapping.study_id must name at least one column")

    @property
    def fields(self) -> list[FieldSpec]:
        kinds = (("image", self.images), ("text", self.reports), ("table", self.tables))
        return [FieldSpec(name, storage) for storage, names in kinds for name in names]

    @property
    def schemas(self) -> dict[str, TableSchema]:
        return {
            name: TableSchema([c.schema_column for c in table.columns])
            for name, table in self.tables.items()
        }

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


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(
            f"mapping.patient_pattern {pattern!r} is no regular expression: {error}"
        ) from None
    if groups != 1:
        raise ValueError(
            f"mapping.patient_pattern {pattern!r} needs one group, the patient; it has {groups}"
        )


def parse_mapping(values: dict[str, Any], where: str = "mapping") -> FolderMapping:
    """FolderMapping from a plain dict. Raises ValueError for unknown keys, missing keys and wrong
    types."""
    return build_dataclass(FolderMapping, values, where)
