"""Source `table`: any csv, tsv, parquet or xlsx table without images. What its columns are is
inferred, told, and can be corrected."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from medcodi.config_io import build_dataclass, load_yaml, unknown_key
from medcodi.sources.finding import ColumnCorrection
from medcodi.sources.folder import prepare_rows
from medcodi.sources.inference import Decision, infer_columns
from medcodi.sources.mapping import FolderMapping, TableMapping
from medcodi.sources.reading import read_table, whole_identifiers

MISSING = (
    *(
        "NA",
        "N/A",
        "n/a",
        "N.A.",
        "n.a.",
        "nan",
        "NaN",
        "NAN",
        "NaT",
        "<NA>",
        "NULL",
        "null",
        "None",
    ),
    *(
        "?",
        "-",
        "--",
        ".",
        "#N/A",
        "#NA",
        "#NULL!",
        "#DIV/0!",
        "#VALUE!",
        "#REF!",
        "#NAME?",
        "#NUM!",
    ),
)
ROW = "row"  # column that is added where no column names the rows
PATIENT = re.compile(r"patient|subject|person|mrn|participant", re.IGNORECASE)


@dataclass
class TableOptions:
    """`table`: name of the field. `patient_id`: column of the patient (default: the column that
    names the rows, else each row is a patient), of which `patient_pattern` takes the first group.
    `study_id`: columns that tell the studies of a patient apart (default: as `patient_id`).
    `missing`: texts that stand for no value, beside a blank. `columns`: corrections. `decimal` and
    `thousands`: the marks inside the numbers of all columns, where the table leaves them open;
    `encoding` of a csv file, `sheet` of a workbook."""

    table: str
    patient_id: str = ""
    patient_pattern: str | None = None
    study_id: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=lambda: list(MISSING))
    columns: dict[str, ColumnCorrection] = field(default_factory=dict)
    decimal: str = ""
    thousands: str = ""
    encoding: str = ""
    sheet: str = ""


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

    Returns counts: of cells, `cells` = `cells_used` + `cells_missing` + `cell_rejects`. Raises
    FileNotFoundError for the file, ValueError for one that cannot be read, for a correction of a
    column that it does not have, for columns that can be read in two ways, and when no column is
    left.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"table {path} does not exist")
    options = build_dataclass(TableOptions, options, "options")
    frame = read_table(path, options.encoding, options.sheet)
    for name in [*options.columns, *options.study_id, *filter(None, [options.patient_id])]:
        if name not in frame.columns:
            raise unknown_key(name, frame.columns, f"the columns of {path}")
    decisions = infer_columns(
        frame, options.missing, options.columns, options.decimal, options.thousands
    )
    tell(decisions)
    refuse_ambiguous(decisions, str(path))
    patient, study = _naming(frame, decisions, options)
    names = [name for name in (patient, *study) if name != ROW]
    frame = whole_identifiers(frame, names)
    if ROW in (patient, *study):
        frame[ROW] = [f"{number:06d}" for number in range(1, len(frame) + 1)]
    columns = [
        d.mapping for d in decisions if d.mapping is not None and d.column not in (patient, *study)
    ]
    if not columns:
        raise ValueError(f"{path}: no column is left for the table")
    mapping = FolderMapping(
        path.name,
        patient,
        study,
        tables={options.table: TableMapping(columns, options.missing)},
        row_id=study[0],
        patient_pattern=options.patient_pattern,
    )
    notes = {"reading": frame.attrs["notes"], "columns": {d.column: d.told() for d in decisions}}
    return prepare_rows(
        frame, str(path), path.parent, mapping, out_dir, validation, test, overwrite, notes
    )


def _naming(
    frame: pd.DataFrame, decisions: list[Decision], options: TableOptions
) -> tuple[str, list[str]]:
    """The column of the patient and those of the study: as given, else an identifier, else the
    number of the row. Rows of a patient who has several are studies of their own."""
    if options.patient_id:
        return options.patient_id, options.study_id or [options.patient_id]
    found = [decision.column for decision in decisions if decision.kind == "identifier"]
    named = [name for name in found if PATIENT.search(name)]
    patient = found[0] if len(found) == 1 else named[0] if len(named) == 1 else ROW
    if patient == ROW:
        return ROW, options.study_id or [ROW]
    known = frame[patient][frame[patient] != ""]
    return patient, options.study_id or [patient if known.is_unique else ROW]


def refuse_ambiguous(decisions: list[Decision], where: str) -> None:
    """Raises ValueError with both readings of each column that has two, and the lines that settle
    them."""
    told = [f"  {d.column}: {d.ambiguous}" for d in decisions if d.ambiguous]
    if told:
        raise ValueError(
            f"{where}: nothing is guessed where a column can be read in two ways:\n"
            + "\n".join(told)
            + "\nPut the lines into a YAML file and give it as --corrections."
        )


def load_options(table: str, corrections: Path | None) -> TableOptions:
    """Options from a YAML file with the keys of TableOptions."""
    values = load_yaml(corrections) if corrections is not None else {}
    return build_dataclass(TableOptions, {"table": table, **values}, str(corrections or "options"))
