"""The prepared dataset: studies in Arrow (Hugging Face `datasets`), memory-mapped, absent values as
nulls.

A folder holds one `SPLIT.arrow` per split, `prepared.json` (fields, table schemas fitted on the
training split, counts, checksums) and `rejects.csv` (what was refused, and why). Legend: N studies
of a split, M fields.
"""

import contextlib
import csv
import functools
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.arrow_writer import ArrowWriter

from medcodi.config import unknown_key
from medcodi.data.cache import staged_folder
from medcodi.data.storage import (
    RESERVED,
    FieldSpec,
    arrow_feature,
    from_storage,
    json_value,
    schemas_by_field,
    to_storage,
    to_stored_row,
)
from medcodi.data.study import SPLITS, Study, split_of
from medcodi.data.table import TableSchema
from medcodi.nn.weights import file_checksum

logger = logging.getLogger(__name__)

VERSION, INDEX, REJECTS = 1, "prepared.json", "rejects.csv"
ROWS_IN_MEMORY = 64  # rows of a split that wait to be written


class PreparedWriter:
    """Streams studies to disk; nothing stands under `folder` until the block ends well.

        with PreparedWriter(folder, fields, schema) as writer:
            writer.add(study)
            writer.reject("study 17/frontal", "file is truncated")

    `schema` is the schema of the table field (or a dict field name -> schema); the writer fits a
    copy on the training split. `notes` (JSON-like) goes to prepared.json. A bad value is listed in
    rejects.csv and becomes absent, the rest of its study goes on. Raises ValueError when `folder`
    exists and `overwrite` is off, and for a modality name that is no field.
    """

    def __init__(
        self,
        folder: str | Path,
        fields: list[FieldSpec],
        schema: TableSchema | dict[str, TableSchema] | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        overwrite: bool = False,
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
        self._seen: set[str] = set()
        self._combinations: dict[str, Counter[tuple[str, ...]]] = {
            split: Counter() for split in SPLITS
        }

    def __enter__(self) -> "PreparedWriter":
        features = {name: datasets.Value("string") for name in RESERVED}
        features |= {
            spec.name: arrow_feature(spec, self.schemas.get(spec.name)) for spec in self.fields
        }
        self._writers = {}
        with contextlib.ExitStack() as stack:
            self._partial = stack.enter_context(staged_folder(self.folder, self.overwrite))
            self._rejects_file = stack.enter_context(
                open(self._partial / REJECTS, "w", newline="", encoding="utf-8")
            )
            self._rejects = csv.writer(self._rejects_file)
            self._rejects.writerow(["item", "reason"])
            for split in SPLITS:
                stream = stack.enter_context(open(self._partial / f"{split}.arrow", "wb"))
                self._writers[split] = ArrowWriter(
                    features=datasets.Features(features),
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

    def reject(self, item: str, reason: str) -> None:
        """List `item` in rejects.csv with its reason (one line)."""
        self._rejects.writerow([item, " ".join(str(reason).split())])
        self.num_rejects += 1

    def add(self, study: Study, split: str | None = None) -> bool:
        """Write a study to the split of its patient, or to `split`, which a source that publishes
        its own splits gives. False when the study as a whole was rejected."""
        for name in study.values:
            if name not in {spec.name for spec in self.fields}:
                raise unknown_key(
                    name, [spec.name for spec in self.fields], f"study {study.study_id!r}"
                )
        if study.study_id in self._seen:
            self.reject(study.study_id, "a study with this study_id was already added")
            return False
        stored = {spec.name: self._store(study, spec) for spec in self.fields}
        present = tuple(name for name, value in stored.items() if value is not None)
        if not present:
            self.reject(study.study_id, "the study has no modality")
            return False
        truth = None if study.truth is None else json.dumps(study.truth, default=json_value)
        split = split or split_of(study.patient_id, self.validation, self.test)
        self._writers[split].write(
            {"study_id": study.study_id, "patient_id": study.patient_id, "truth": truth, **stored}
        )
        self._seen.add(study.study_id)
        self._combinations[split][present] += 1
        return True

    def _store(self, study: Study, spec: FieldSpec) -> Any:
        value = study.values.get(spec.name)
        if value is None:
            return None
        item = f"{study.study_id}/{spec.name}"
        if spec.storage == "table":
            cells, problems = to_stored_row(self.schemas[spec.name], value, item)
            for where, reason in problems:
                self.reject(where, reason)
            return cells
        try:
            return to_storage(spec, value)
        except (TypeError, ValueError) as error:
            self.reject(item, str(error))
            return None

    def _finish(self) -> None:
        for split in SPLITS:
            self._writers[split].finalize()
        self._rejects_file.close()
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
            "notes": self.notes,
        }
        (self._partial / INDEX).write_text(
            json.dumps(index, indent=2, default=json_value), encoding="utf-8"
        )

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


class PreparedDataset:
    """One split of a prepared folder, memory-mapped: `len`, `[i] -> Study`, `.batch`, `.present`.
    Only the fields in `names` are decoded. Works as a torch map-style dataset; it pickles cheaply
    for worker processes."""

    def __init__(
        self,
        rows: datasets.Dataset,
        index: dict[str, Any],
        names: list[str],
        indices: np.ndarray | None = None,
    ) -> None:
        self.index, self.names = index, names
        self.indices = np.arange(len(rows)) if indices is None else indices  # (N,) rows of the file
        self.fields = [FieldSpec(**spec) for spec in index["fields"] if spec["name"] in names]
        self.fields.sort(key=lambda spec: names.index(spec.name))
        self.schemas = {
            n: TableSchema.from_dicts(columns) for n, columns in index["tables"].items()
        }
        self._rows = rows

    @classmethod
    def load(
        cls, folder: str | Path, split: str, names: Sequence[str] | None = None
    ) -> "PreparedDataset":
        """Open `split` of a folder written by `PreparedWriter`; `names` restricts the fields that
        are read (default: all).

        Raises FileNotFoundError for a missing folder, ValueError for one that is not a prepared
        folder, an unknown split or name, and a corrupted file."""
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"prepared folder {folder} does not exist: write it with `medcodi prepare`"
            )
        if not (folder / INDEX).is_file():
            raise ValueError(
                f"{folder} is not a prepared folder: it has no {INDEX}. Write one with `medcodi "
                "prepare`"
            )
        if split not in SPLITS:
            raise unknown_key(split, SPLITS, f"splits of {folder}")
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index.get("version") != VERSION:
            raise ValueError(
                f"{folder} has format version {index.get('version')}, expected {VERSION}: prepare "
                "it again"
            )
        fields = [spec["name"] for spec in index["fields"]]
        names = list(names) if names is not None else fields
        for name in names:
            if name not in fields:
                raise unknown_key(name, fields, f"fields of {folder}")
        return cls(_map_rows(folder / f"{split}.arrow", index, names, split), index, names)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Study:
        return self.batch([i])[0]

    def batch(self, indices: Sequence[int]) -> list[Study]:
        """Studies at `indices`, in that order; absent values are not in `Study.values`."""
        chosen = self.indices[np.asarray(indices, np.int64)].tolist()
        if not chosen:
            return []
        columns = self._rows[chosen]
        return [
            self._study({name: column[i] for name, column in columns.items()})
            for i in range(len(chosen))
        ]

    __getitems__ = batch  # torch data loaders fetch a batch at once

    def _study(self, row: dict[str, Any]) -> Study:
        values = {
            spec.name: from_storage(spec, self.schemas.get(spec.name), row[spec.name])
            for spec in self.fields
            if row[spec.name] is not None
        }
        truth = None if row["truth"] is None else json.loads(row["truth"])
        return Study(row["study_id"], row["patient_id"], values, truth)

    @property
    def schema(self) -> TableSchema | None:
        """The fitted schema of the table field; None without one. ValueError when there are several
        (see `schemas`)."""
        schemas = [self.schemas[spec.name] for spec in self.fields if spec.storage == "table"]
        if len(schemas) > 1:
            raise ValueError(
                "there are several tables: take `schemas[name]`, name one of "
                f"{sorted(self.schemas)}"
            )
        return schemas[0] if schemas else None

    @functools.cached_property
    def present(self) -> np.ndarray:
        """(N, M) bool in the order of `names`, from the null bitmaps: nothing is decoded."""
        columns = [self._rows.data.column(name).is_valid().to_numpy() for name in self.names]
        return (
            np.stack(columns, axis=1)[self.indices] if columns else np.zeros((len(self), 0), bool)
        )

    @functools.cached_property
    def study_ids(self) -> list[str]:
        return self.column("study_id").to_pylist()

    @functools.cached_property
    def patient_ids(self) -> list[str]:
        return self.column("patient_id").to_pylist()

    def column(self, name: str) -> Any:
        """A field as it is stored, a chunked array of Arrow (N,); images are not decoded."""
        return self._rows.data.column(name).take(self.indices)

    def select(self, indices: Sequence[int]) -> "PreparedDataset":
        """The studies at `indices`, in that order."""
        return PreparedDataset(
            self._rows, self.index, self.names, self.indices[np.asarray(indices, np.int64)]
        )

    def having(self, *names: str) -> "PreparedDataset":
        """The studies that have every one of `names`."""
        for name in names:
            if name not in self.names:
                raise unknown_key(name, self.names, "fields of the dataset")
        return self.select(
            self.present[:, [self.names.index(name) for name in names]].all(axis=1).nonzero()[0]
        )


def dataset_identity(folder: str | Path) -> list[Any]:
    """What tells prepared folders apart: their index (with the checksums of the splits) and the ids
    of their studies."""
    splits = [PreparedDataset.load(folder, split, []) for split in ("train", "test", "validation")]
    return [splits[0].index, [dataset.study_ids for dataset in splits]]


def _map_rows(path: Path, index: dict[str, Any], names: list[str], split: str) -> datasets.Dataset:
    """Memory-map a split with the columns that are read, images left as bytes."""
    num_studies = index["splits"][split]["studies"]
    try:
        rows = datasets.Dataset.from_file(str(path))
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise ValueError(f"{path} is corrupted: {error}") from None
    if len(rows) != num_studies:
        raise ValueError(
            f"{path} is corrupted: it holds {len(rows)} studies, {INDEX} says {num_studies}"
        )
    rows = rows.select_columns([*RESERVED, *names])
    for name in names:
        if isinstance(rows.features[name], datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows
