"""Source `table`: any csv, tsv or parquet table without images. What its columns are is inferred,
told, and can be corrected."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medcodi.config import build_dataclass, load_yaml, unknown_key
from medcodi.sources.folder import prepare_rows
from medcodi.sources.inference import ColumnCorrection, Decision, infer_columns
from medcodi.sources.mapping import FolderMapping, TableMapping
from medcodi.sources.reading import read_table

MISSING = ("NA", "N/A", "n/a", "nan", "NaN", "NULL", "null", "None", "?", "-", ".")
ROW = "row"  # column that is added where no column names the rows


@dataclass
class TableOptions:
    """`table`: name of the field. `patient_id`: column of the patient (default: the column that
    names the rows, else each row is a patient), of which `patient_pattern` takes the first group.
    `study_id`: columns that tell the studies of a
    patient apart (default: as `patient_id`). `missing`: texts that stand for no value, beside a
    blank. `columns`: corrections."""

    table: str
    patient_id: str = ""
    patient_pattern: str | None = None
    study_id: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=lambda: list(MISSING))
    columns: dict[str, ColumnCorrection] = field(default_factory=dict)


def prepare_table(
    path: str | Path,
    options: dict[str, Any] | TableOptions,
    out_dir: str | Path,
    validation: float = 0.1,
    test: float = 0.1,
    overwrite: bool = False,
    tell: Callable[[list[Decision]], None] = lambda decisions: None,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` with one table field from the file `path`. `tell` gets
    the decisions about the columns before anything is written; they also stand in prepared.json.

    Returns counts. Raises FileNotFoundError for the file, ValueError for one that cannot be read,
    for a correction of a column that it does not have, and when no column is left.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"table {path} does not exist")
    options = (
        options
        if isinstance(options, TableOptions)
        else build_dataclass(TableOptions, options, "options")
    )
    frame = read_table(path).map(str.strip)
    for name in [
        *options.columns,
        *([options.patient_id] if options.patient_id else []),
        *options.study_id,
    ]:
        if name not in frame.columns:
            raise unknown_key(name, frame.columns, f"the columns of {path}")
    decisions = infer_columns(frame, options.missing, options.columns)
    identifiers = [decision.column for decision in decisions if decision.kind == "identifier"]
    patient = options.patient_id or (identifiers[0] if len(identifiers) == 1 else ROW)
    if patient == ROW:
        frame[ROW] = [f"{number:06d}" for number in range(1, len(frame) + 1)]
    naming = {patient, *options.study_id}
    columns = [d.mapping for d in decisions if d.mapping is not None and d.column not in naming]
    if not columns:
        raise ValueError(f"{path}: no column is left for the table")
    tell(decisions)
    mapping = FolderMapping(
        path.name,
        patient,
        options.study_id or [patient],
        tables={options.table: TableMapping(columns, options.missing)},
        row_id=patient,
        patient_pattern=options.patient_pattern,
    )
    notes = {
        "columns": {decision.column: f"{decision.kind}: {decision.why}" for decision in decisions}
    }
    return prepare_rows(
        frame, str(path), path.parent, mapping, out_dir, validation, test, overwrite, notes
    )


def load_options(table: str, corrections: Path | None) -> TableOptions:
    """Options from a YAML file with the keys of TableOptions."""
    values = load_yaml(corrections) if corrections is not None else {}
    return build_dataclass(TableOptions, {"table": table, **values}, str(corrections or "options"))
