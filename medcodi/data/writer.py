"""Writing of a prepared folder (see prepared.py): studies are streamed to disk, the folder appears
when it is whole."""

import contextlib
import csv
import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.arrow_writer import ArrowWriter

from medcodi.config_io import unknown_key
from medcodi.data.duplicates import fingerprint
from medcodi.data.greys import GreyLimits
from medcodi.data.pictures import PictureFigures
from medcodi.data.png import EncodedImage, decode_image
from medcodi.data.prepared import INDEX, REJECTS, SUSPECTS, VERSION
from medcodi.data.splits import DuplicateSearch, Picture, move_patients
from medcodi.data.storage import (
    RESERVED,
    FieldSpec,
    Storage,
    arrow_feature,
    json_value,
    schemas_by_field,
    to_storage,
    to_stored_row,
)
from medcodi.data.study import SPLITS, Study, split_of
from medcodi.data.table import TableSchema
from medcodi.files import staged
from medcodi.nn.weights import file_checksum

logger = logging.getLogger(__name__)

ROWS_IN_MEMORY = 64  # rows of a split that wait to be written


class PreparedWriter:
    """Streams studies to disk; nothing stands under `folder` until the block ends well.

        with PreparedWriter(folder, fields, schema) as writer:
            writer.add(study)
            writer.reject("study 17/frontal", "file is truncated")

    `schema` is the schema of the table field (or a dict field name -> schema); the writer fits a
    copy on the training split. `notes` (JSON-like) goes to prepared.json. A bad value is listed in
    rejects.csv and becomes absent, the rest of its study goes on; images outside of `limits` are
    used and listed in suspects.csv. Images that are there twice (`find_duplicates`) are listed in
    duplicates.csv and kept to one split. Raises ValueError when `folder` exists and `overwrite` is
    off, and for a modality name that is no field.
    """

    def __init__(
        self,
        folder: str | Path,
        fields: list[FieldSpec],
        schema: TableSchema | dict[str, TableSchema] | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        overwrite: bool = False,
        limits: GreyLimits | None = None,
        find_duplicates: bool = True,
    ) -> None:
        if validation < 0 or test < 0 or validation + test > 1:
            raise ValueError(
                f"validation and test are fractions with a sum of at most 1, got {validation} and "
                f"{test}"
            )
        self.folder, self.fields, self.overwrite = Path(folder), list(fields), overwrite
        self.schemas = schemas_by_field(self.fields, schema)
        self.validation, self.test = validation, test
        self.notes: dict[str, Any] = {}
        self.num_rejects = 0
        pictures = [spec.name for spec in self.fields if spec.storage == Storage.IMAGE]
        self.pictures = PictureFigures(pictures, limits or GreyLimits())
        self.duplicates = DuplicateSearch() if find_duplicates and pictures else None
        self._seen: set[str] = set()
        self._combinations: dict[str, Counter[tuple[str, ...]]] = {
            split: Counter() for split in SPLITS
        }

    def __enter__(self) -> "PreparedWriter":
        features = {name: datasets.Value("string") for name in RESERVED}
        features |= {
            spec.name: arrow_feature(spec, self.schemas.get(spec.name)) for spec in self.fields
        }
        self._features, self._writers = datasets.Features(features), {}
        with contextlib.ExitStack() as stack:
            self._partial = stack.enter_context(staged(self.folder, self.overwrite))
            self._rejects_file = stack.enter_context(
                open(self._partial / REJECTS, "w", newline="", encoding="utf-8")
            )
            self._suspects_file = stack.enter_context(
                open(self._partial / SUSPECTS, "w", newline="", encoding="utf-8")
            )
            self.pictures.start(self._suspects_file)
            self._rejects = csv.writer(self._rejects_file)
            self._rejects.writerow(["item", "reason"])
            for split in SPLITS:
                stream = stack.enter_context(open(self._partial / f"{split}.arrow", "wb"))
                self._writers[split] = ArrowWriter(
                    features=self._features,
                    stream=stream,
                    writer_batch_size=ROWS_IN_MEMORY,
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        with self._stack:
            if error is not None:
                raise error
            self._finish()

    def beside(self, name: str) -> Path:
        """Where a further file of the folder is written, inside the block."""
        return self._partial / name

    def reject(self, item: str, reason: str) -> None:
        """List `item` in rejects.csv with its reason (one line)."""
        self._rejects.writerow([item, " ".join(str(reason).split())])
        self.num_rejects += 1

    def add(self, study: Study, split: str | None = None, movable: bool = False) -> bool:
        """Write a study to the split of its patient, or to `split`, which a source that publishes
        its own splits gives (`movable`: it may leave it for its near-duplicate). False when the
        study as a whole was rejected."""
        for name in study.values:
            if name not in {spec.name for spec in self.fields}:
                raise unknown_key(
                    name, [spec.name for spec in self.fields], f"study {study.study_id!r}"
                )
        if study.study_id in self._seen:
            self.reject(study.study_id, "a study with this study_id was already added")
            return False
        given, split = split is not None and not movable, split or self._split(study)
        stored = {spec.name: self._store(study, spec) for spec in self.fields}
        present = tuple(name for name, value in stored.items() if value is not None)
        if not present:
            self.reject(study.study_id, "the study has no modality")
            return False
        truth = None if study.truth is None else json.dumps(study.truth, default=json_value)
        for name in self.pictures.figures:
            if self.duplicates and stored[name] is not None:
                self._mark(study, name, split, given)
        self._writers[split].write(
            {"study_id": study.study_id, "patient_id": study.patient_id, "truth": truth, **stored}
        )
        self._seen.add(study.study_id)
        self._combinations[split][present] += 1
        return True

    def _split(self, study: Study) -> str:
        return split_of(study.patient_id, self.validation, self.test)

    def _mark(self, study: Study, name: str, split: str, given: bool) -> None:
        """Remember how the image looks and where it stands."""
        value, row = study.values[name], self._combinations[split].total()
        known = isinstance(value, EncodedImage)
        mark = value.mark if known else fingerprint(np.asarray(value, np.float32))
        if known and mark is None:
            mark = fingerprint(decode_image(value.png))
        place = Picture(study.study_id, study.patient_id, name, split, row, given)
        self.duplicates.add(place, mark)

    def _store(self, study: Study, spec: FieldSpec) -> Any:
        value = study.values.get(spec.name)
        if value is None:
            return None
        item = f"{study.study_id}/{spec.name}"
        if spec.storage == Storage.TABLE:
            cells, problems = to_stored_row(self.schemas[spec.name], value, item)
            for where, reason in problems:
                self.reject(where, reason)
            return cells
        try:
            stored = to_storage(spec, value)
            if spec.storage == Storage.IMAGE:
                self.pictures.see(study, spec.name, value)
            return stored
        except (TypeError, ValueError) as error:
            self.reject(item, str(error))
            return None

    def _finish(self) -> None:
        for split in SPLITS:
            self._writers[split].finalize()
        self._rejects_file.close()
        self._suspects_file.close()
        if self.duplicates:
            self._keep_together()
        self._fit_schemas()
        splits = {split: self._counts(split) for split in SPLITS}
        index = {
            "version": VERSION,
            "fields": [asdict(spec) for spec in self.fields],
            "tables": {name: schema.to_dicts() for name, schema in self.schemas.items()},
            "validation": self.validation,
            "test": self.test,
            "splits": splits,
            "checksums": {
                split: file_checksum(self._partial / f"{split}.arrow") for split in SPLITS
            },
            "num_rejects": self.num_rejects,
            "greys": self.pictures.summary(),
            "notes": self.notes,
        }
        (self._partial / INDEX).write_text(
            json.dumps(index, indent=2, default=json_value), encoding="utf-8"
        )

    def _keep_together(self) -> None:
        """Move the patients who share a radiograph to one split."""
        moves, self.notes["near-duplicates"] = self.duplicates.run(self._partial)
        if not moves:
            return
        for old, new, present in move_patients(self._partial, self._features, moves):
            names = tuple(spec.name for spec in self.fields if present[spec.name])
            self._combinations[old][names] -= 1
            self._combinations[new][names] += 1
        for split in SPLITS:
            self._combinations[split] = +self._combinations[split]

    def _fit_schemas(self) -> None:
        """Set mean, std and range from the training split, one column in memory at a time."""
        rows = datasets.Dataset.from_file(str(self._partial / "train.arrow")).data
        for name, schema in self.schemas.items():
            table = rows.column(name).combine_chunks()
            if table.null_count == len(table):
                logger.warning(
                    "%s: no training study has %r, its schema is left unfitted", self.folder, name
                )
                continue
            for column in schema.columns:
                cells = table.field(column.name).drop_null().to_pylist()
                TableSchema([column]).fit([{column.name: cell} for cell in cells])

    def _counts(self, split: str) -> dict[str, Any]:
        combinations = self._combinations[split]
        present = {
            spec.name: sum(n for names, n in combinations.items() if spec.name in names)
            for spec in self.fields
        }
        ordered = {
            "+".join(names): count
            for names, count in sorted(combinations.items(), key=lambda item: -item[1])
        }
        return {"studies": combinations.total(), "present": present, "combinations": ordered}
