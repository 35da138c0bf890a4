"""The published folders: files/pXX/pXXXXXXXX/sXXXXXXXX/NAME.dcm (or .jpg), the report sXXXXXXXX.txt
beside the folder of its study, and the csv files (plain or .gz)
mimic-cxr-VERSION-{metadata,split,chexpert}.csv in the folder above."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

from medcodi.data.table import Column
from medcodi.sources.archive.walk import Found, walk
from medcodi.sources.dicom.view import Seen, View, view_of_position, view_of_words

IMAGE = re.compile(rb"(?:.*/)?p\d{2}/p(\d{8})/s(\d{8})/([^/]+)\.(dcm|jpe?g|png)", re.IGNORECASE)
REPORT = re.compile(rb"(?:.*/)?p\d{2}/p(\d{8})/s(\d{8})\.txt", re.IGNORECASE)
VIEW_COLUMNS = (
    "ViewPosition",
    "ViewCodeSequence_CodeMeaning",
    "PerformedProcedureStepDescription",
    "ProcedureCodeSequence_CodeMeaning",
)
SPLITS = {"train": "train", "validate": "validation", "validation": "validation", "test": "test"}
LABEL_VALUES = {
    "1.0": "positive",
    "1": "positive",
    "0.0": "negative",
    "0": "negative",
    "-1.0": "uncertain",
    "-1": "uncertain",
}
MENTIONS = ["negative", "uncertain", "positive"]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image of the tree; `name` is its dicom_id, `found` its directory entry."""

    patient: str
    study: str
    name: str
    found: Found

    @property
    def is_dicom(self) -> bool:
        return self.found.path.lower().endswith(b".dcm")


def image_files(source: Path) -> Iterator[list[ImageFile]]:
    """The images below `source`, folder by folder of a study; where a release holds one as DICOM
    and as JPG, both, the DICOM first."""
    for _, files in groupby(_image_files(source), key=lambda file: (file.patient, file.study)):
        yield sorted(files, key=lambda file: (not file.is_dicom, file.found.path))


def _image_files(source: Path) -> Iterator[ImageFile]:
    for found in walk(source):
        match = IMAGE.fullmatch(found.path)
        if match:
            patient, study, name = (match[i].decode("utf-8", "backslashreplace") for i in (1, 2, 3))
            yield ImageFile(patient, study, name, found)


def report_files(folder: Path) -> dict[str, bytes]:
    """study -> path of its report, relative to `folder`."""
    return {
        match[2].decode(): match[0]
        for found in walk(folder)
        if (match := REPORT.fullmatch(found.path))
    }


def read_csv(
    source: Path,
    what: str,
    needed: tuple[str, ...],
    required: str = "",
    optional: tuple[str, ...] | None = None,
) -> pd.DataFrame | None:
    """The csv file `what` (metadata, split, chexpert) of `source` as texts ("" = blank), None where
    there is none: its `needed` and `optional` columns (None: all).

    Raises ValueError for several, for one without the `needed` columns, and for none where
    `required` says what for.
    """
    found = sorted(path for end in ("csv", "csv.gz") for path in source.glob(f"*-{what}.{end}"))
    if len(found) > 1:
        raise ValueError(
            f"{source} has several {what} files, expected one: "
            f"{', '.join(path.name for path in found)}"
        )
    if not found:
        if required:
            raise ValueError(f"{source} has no mimic-cxr-...-{what}.csv or .csv.gz: {required}")
        return None
    try:
        columns = list(pd.read_csv(found[0], dtype=str, nrows=0).columns)
        missing = [column for column in needed if column not in columns]
        if not missing:
            kept = [
                column for column in columns if optional is None or column in (*needed, *optional)
            ]
            return pd.read_csv(found[0], dtype=str, keep_default_na=False, usecols=kept)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{found[0]} cannot be read as csv: {error}") from None
    raise ValueError(
        f"{found[0]} lacks the columns {', '.join(missing)}; it has {', '.join(columns)}"
    )


def views(source: Path) -> dict[str, Seen] | None:
    """dicom_id -> view and projection by the metadata, None without metadata.

    A blank position is looked up in the words of the view code, then of the procedure; another
    projection (oblique, decubitus) is none of the two, and a procedure that names both views says
    nothing.
    """
    frame = read_csv(source, "metadata", ("dicom_id", VIEW_COLUMNS[0]), optional=VIEW_COLUMNS[1:])
    if frame is None:
        return None
    columns = [column for column in VIEW_COLUMNS if column in frame.columns]
    return {
        name: _seen(dict(zip(columns, texts, strict=True)))
        for name, *texts in frame[["dicom_id", *columns]].itertuples(index=False)
    }


def _seen(texts: dict[str, str]) -> Seen:
    """View by the first of `texts` (column -> cell) that says it."""
    given = {column: text.strip() for column, text in texts.items() if text.strip()}
    for column, text in given.items():
        is_position = column == VIEW_COLUMNS[0]
        seen = (view_of_position if is_position else view_of_words)(text)
        if seen is not None or is_position:
            return Seen(*(seen or (View.UNKNOWN, "")), column, f"{column}: {text}")
    said = "; ".join(f"{column}: {text}" for column, text in given.items())
    return Seen(View.UNKNOWN, "", "no column says it", said or "blank")


def splits(source: Path) -> dict[str, str]:
    """patient -> published split. Raises ValueError for an unknown one and a patient in two."""
    frame = read_csv(
        source, "split", ("subject_id", "split"), "the official split is read from it", ()
    )
    unknown = sorted(set(frame["split"]) - set(SPLITS))
    if unknown:
        raise ValueError(f"the split file names {', '.join(unknown)}, expected {', '.join(SPLITS)}")
    pairs = frame[["subject_id", "split"]].drop_duplicates()
    twice = pairs["subject_id"][pairs["subject_id"].duplicated()]
    if len(twice):
        raise ValueError(
            f"{len(twice)} patients of the split file are in two splits, e.g. {twice.iloc[0]}"
        )
    return {patient: SPLITS[split] for patient, split in pairs.itertuples(index=False)}


def labels(source: Path) -> tuple[list[Column], dict[str, dict[str, str | None]]]:
    """(columns, study -> row) of the CheXpert labels; a blank is a finding that the report does not
    mention."""
    frame = read_csv(source, "chexpert", ("subject_id", "study_id"), "the labels are read from it")
    names = [column for column in frame.columns if column not in ("subject_id", "study_id")]
    unknown = sorted({value for name in names for value in frame[name]} - {"", *LABEL_VALUES})
    if unknown:
        raise ValueError(
            f"the chexpert file holds {', '.join(unknown)}, expected 1.0, 0.0, -1.0 or blank"
        )
    rows = {
        study: {name: LABEL_VALUES.get(value) for name, value in zip(names, values, strict=True)}
        for study, *values in frame[["study_id", *names]].itertuples(index=False)
    }
    return [Column(name, "categorical", list(MENTIONS)) for name in names], rows
