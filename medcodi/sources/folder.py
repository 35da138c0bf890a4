"""Source `folder`: a csv with one row per image (or study), image files beside it, and a mapping.

Nothing is lost: every row either gives its image to a study or stands in rejects.csv with the
reason; so does every table value that cannot be read. The rest of the study goes on.
"""

import logging
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from medcodi.data.duplicates import fingerprint
from medcodi.data.png import EncodedImage, encode_image
from medcodi.data.sections import COMPARES, has_content, only_compares, read_report
from medcodi.data.study import Study
from medcodi.data.writer import PreparedWriter
from medcodi.sources.images import read_picture, safe_path, to_square
from medcodi.sources.inference import settle_numbers
from medcodi.sources.mapping import (
    ColumnMapping,
    FolderMapping,
    ReportMapping,
    TableMapping,
    parse_mapping,
)
from medcodi.sources.reading import read_table, whole_identifiers
from medcodi.sources.suspects import MADE_GREY, plain_image

logger = logging.getLogger(__name__)

TRUE, FALSE = ("1", "true", "yes", "y"), ("", "0", "false", "no", "n")
COUNTED = (
    *("studies", "images", "suspects", "image_rejects", "blank_paths", "blank_reports"),
    *("cells", "cells_used", "cells_missing", "cell_rejects", "value_rejects"),
)
Row = dict[str, str]


def prepare_folder(
    source_dir: str | Path,
    mapping: dict[str, Any] | FolderMapping,
    out_dir: str | Path,
    validation: float = 0.1,
    test: float = 0.1,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from the csv and the images in `source_dir`.

    Returns counts: `rows`, `studies`, `images`, `suspects` (of these), `image_rejects`,
    `blank_paths`, `blank_reports`, table `cells` = `cells_used` + `cells_missing` + `cell_rejects`,
    `value_rejects` (cells and report texts), `rejects` (lines of rejects.csv) and, where there are
    any, of reports by what they lack or the section they come from. With one image per row, rows =
    images + image_rejects + blank_paths. Raises FileNotFoundError for the folder, ValueError for a
    csv that cannot be read or lacks a column.
    """
    source = Path(source_dir)
    mapping = mapping if isinstance(mapping, FolderMapping) else parse_mapping(mapping)
    if not source.is_dir():
        raise FileNotFoundError(f"source folder {source} does not exist")
    path = safe_path(source, mapping.csv)
    frame = read_table(path)
    mapping.check_columns(list(frame.columns), str(path))
    settle_numbers(frame, mapping, str(path))
    return prepare_rows(frame, str(path), source, mapping, out_dir, validation, test, overwrite)


def prepare_rows(
    frame: pd.DataFrame,
    where: str,
    source: Path,
    mapping: FolderMapping,
    out_dir: str | Path,
    validation: float = 0.1,
    test: float = 0.1,
    overwrite: bool = False,
    notes: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """`prepare_folder` of the rows of `frame` (`read_table`), named `where` in errors; `notes` go
    to prepared.json."""
    rows = _named_rows(frame, where, mapping)
    with PreparedWriter(
        out_dir, mapping.fields, mapping.schemas, validation, test, overwrite
    ) as writer:
        for item, reason in (left_out := frame.attrs.get("left_out", {})).items():
            writer.reject(item, reason)
        studies = _StudyMaker(source, mapping, writer)
        for number, (patient, study_id, group) in enumerate(studies.groups(rows), start=1):
            for study in studies.make(patient, study_id, group):
                studies.count(study, writer.add(study))
            if number % 1000 == 0:
                logger.info("%s: %d groups of rows read", source, number)
        counts = {"rows": len(rows), **studies.counts}
        counts |= {"rows_left_out": len(left_out)} if left_out else {}
        writer.notes = {"source": counts, **(notes or {})}
    return {**counts, "rejects": writer.num_rejects}


def _named_rows(frame: pd.DataFrame, where: str, mapping: FolderMapping) -> list[Row]:
    """Rows as texts ("" = blank); the key "" holds the name of the row."""
    mapping.check_columns(list(frame.columns), where)
    frame = whole_identifiers(frame, [mapping.patient_id, *mapping.study_id])
    rows = frame.to_dict("records")
    for index, row in zip(frame.index, rows, strict=True):
        row[""] = (row[mapping.row_id] if mapping.row_id else "") or f"row {index + 1}"
    return rows


class _StudyMaker:
    """Groups rows to studies and reads their values; `writer.reject` gets what cannot be read."""

    def __init__(self, source: Path, mapping: FolderMapping, writer: PreparedWriter) -> None:
        self.source, self.mapping, self.writer = source, mapping, writer
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))

    def count(self, study: Study, accepted: bool) -> None:
        num_images = sum(study.values.get(name) is not None for name in self.mapping.images)
        self.counts["studies"] += accepted
        self.counts["images" if accepted else "image_rejects"] += num_images

    def groups(self, rows: list[Row]) -> list[tuple[str, str, list[Row]]]:
        """(patient, study_id, rows of the study), in the order of the csv."""
        grouped: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in rows:
            patient = row[self.mapping.patient_id]
            if not patient:
                reason = f"column {self.mapping.patient_id!r} is blank: the patient is unknown"
                self._reject_image(row[""], reason)
                continue
            if self.mapping.patient_pattern:
                match = re.fullmatch(self.mapping.patient_pattern, patient)
                if match is None:
                    column = self.mapping.patient_id
                    reason = f"column {column!r} does not match the patient_pattern"
                    self._reject_image(row[""], reason)
                    continue
                patient = match[1]
            parts = [row[column] for column in self.mapping.study_id]
            if "" in parts and self.mapping.blank_study == "separate":
                parts = [part for part in parts if part] + [row[""].replace(" ", "")]
            grouped[(patient, *parts)].append(row)
        return [
            (patient, "_".join(part for part in parts if part), group)
            for (patient, *parts), group in grouped.items()
        ]

    def make(self, patient: str, study_id: str, rows: list[Row]) -> list[Study]:
        """The studies of one group of rows: one, or several when images of one name repeat and are
        kept apart."""
        candidates = {name: self._candidates(name, rows) for name in self.mapping.images}
        if self.mapping.duplicates == "first":
            return [self._study(study_id, patient, rows, candidates)]
        studies = []
        for turn in range(max([1, *(len(found) for found in candidates.values())])):
            chosen = {name: found[turn : turn + 1] for name, found in candidates.items()}
            used = {id(row) for found in chosen.values() for row in found}
            if turn == 0:  # rows without an image belong to the first study
                used |= {id(row) for row in rows} - {
                    id(row) for found in candidates.values() for row in found
                }
            own = [row for row in rows if id(row) in used]
            suffix = f".{turn + 1}" if turn else ""
            studies.append(self._study(study_id + suffix, patient, own, chosen))
        return studies

    def _candidates(self, name: str, rows: list[Row]) -> list[Row]:
        image = self.mapping.images[name]
        return [row for row in rows if _matches(row, image.where) and row[image.path_column]]

    def _study(
        self, study_id: str, patient: str, rows: list[Row], candidates: dict[str, list[Row]]
    ) -> Study:
        values: dict[str, Any] = {}
        for row in rows:
            self._account(row)
        for name, found in candidates.items():
            values[name] = self._first_readable(study_id, name, found)
        for name, report in self.mapping.reports.items():
            values[name] = self._report(f"{study_id}/{name}", report, rows)
        for name, table in self.mapping.tables.items():
            values[name] = self._table_row(f"{study_id}/{name}", table, rows)
        return Study(study_id, patient, values)

    def _account(self, row: Row) -> None:
        """List a row that no image takes; count blank paths (the image is absent)."""
        images = self.mapping.images.values()
        takers = [image for image in images if _matches(row, image.where)]
        self.counts["blank_paths"] += sum(not row[image.path_column] for image in takers)
        if images and not takers:
            where = sorted({column for image in images for column in image.where})
            seen = ", ".join(f"{column}={row[column]!r}" for column in where)
            self._reject_image(row[""], f"no image of the mapping takes this row: {seen}")

    def _first_readable(self, study_id: str, name: str, rows: list[Row]) -> EncodedImage | None:
        kept: EncodedImage | None = None
        for row in rows:
            item = f"{row['']}/{name}"
            if kept is not None:
                reason = f"study {study_id} has its {name} already (duplicates: first)"
                self._reject_image(item, reason)
                continue
            try:
                kept = self._read_image(row, row[self.mapping.images[name].path_column])
            except ValueError as error:
                self._reject_image(item, str(error))
        return kept

    def _read_image(self, row: Row, relative: str) -> EncodedImage:
        """An image of (size, size), and why it is a suspect. ValueError with the reason."""
        mapping, size = self.mapping, self.mapping.size
        image, coloured = read_picture(safe_path(self.source, relative), mapping.max_value_16bit)
        if image.shape != (size, size) and mapping.on_wrong_size == "reject":
            raise ValueError(
                f"image is {image.shape[1]} x {image.shape[0]} pixels, expected {size} x {size}"
            )
        mark = row[mapping.invert_column].lower() if mapping.invert_column else ""
        if mark not in TRUE + FALSE:
            raise ValueError(
                f"column {mapping.invert_column!r} must be one of {TRUE + FALSE}, got {mark!r}"
            )
        image = 1.0 - image if mark in TRUE else image
        seen = plain_image(image, mapping.look, mapping.suspects, mapping.grey_limits, coloured)
        self.counts["suspects"] += bool(seen.notes)
        self.counts.update([MADE_GREY] * (coloured > mapping.grey_limits.max_coloured))
        prepared = to_square(seen.image, size)
        return EncodedImage(encode_image(prepared), seen.greys, fingerprint(prepared), seen.notes)

    def _report(self, item: str, report: ReportMapping, rows: list[Row]) -> str | None:
        raw = dict.fromkeys(row[report.column] for row in rows if row[report.column])
        found = (self._words(report, text) for text in raw)
        distinct = list(dict.fromkeys(words for words in found if words))
        for other in distinct[1:]:
            self._reject_value(
                item,
                f"the rows of the study disagree; the first text is kept, this one is not: {other}",
            )
        if not distinct:
            self.counts["blank_reports"] += 1
            return None
        return distinct[0]

    def _words(self, report: ReportMapping, text: str) -> str:
        """What of `text` stands for the report; "" where it has no content."""
        if report.sections:
            found = read_report(text).choose(report.sections)
            self.counts.update([*found.notes, f"report from {found.section or 'no section'}"])
            return found.text
        if has_content(text):
            return text
        compares = only_compares(text)
        self.counts[COMPARES if compares else "report without content"] += 1
        return text if compares else ""

    def _table_row(self, item: str, table: TableMapping, rows: list[Row]) -> dict[str, Any]:
        """One table row; the writer lists it when nothing is left in it."""
        return {
            column.name: self._cell(f"{item}.{column.name}", column, rows)
            for column in table.columns
        }

    def _cell(self, item: str, column: ColumnMapping, rows: list[Row]) -> Any:
        """First value of the rows; unreadable and disagreeing ones are listed."""
        kept, kept_raw = None, ""
        self.counts["cells"] += len(rows)
        for row in rows:
            raw = row[column.column]
            try:
                value = column.parse(raw)
            except ValueError as error:
                self._reject_cell(item, str(error))
                continue
            if value is None:
                self.counts["cells_missing"] += 1
            elif kept is None or value == kept:
                self.counts["cells_used"] += 1
                kept, kept_raw = value, kept_raw or raw
            else:
                self._reject_cell(
                    item,
                    f"the rows of the study disagree; {kept_raw!r} is kept, {raw!r} is not",
                )
        return kept

    def _reject_image(self, item: str, reason: str) -> None:
        self.counts["image_rejects"] += 1
        self.writer.reject(item, reason)

    def _reject_cell(self, item: str, reason: str) -> None:
        self.counts["cell_rejects"] += 1
        self._reject_value(item, reason)

    def _reject_value(self, item: str, reason: str) -> None:
        self.counts["value_rejects"] += 1
        self.writer.reject(item, reason)


def _matches(row: Row, where: dict[str, list[str]]) -> bool:
    return all(row[column] in values for column, values in where.items())
