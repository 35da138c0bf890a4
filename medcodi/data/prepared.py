"""The prepared dataset: studies in Arrow (Hugging Face `datasets`), memory-mapped, absent values as
nulls.

A folder holds one `SPLIT.arrow` per split, `prepared.json` (fields, table schemas fitted on the
training split, counts, checksums, figures of the greys), `rejects.csv` (what was refused, and why)
and `suspects.csv` (images that are used and worth a look). Where sources kept the findings and the
impression of a text (`report_findings`, `report_impression`), the name `report_both` reads them
joined. Legend: N studies of a split, M fields.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medcodi.config_io import unknown_key
from medcodi.data.png import EncodedImage
from medcodi.data.sections import BOTH, KEPT
from medcodi.data.storage import RESERVED, FieldSpec, Storage, from_storage
from medcodi.data.study import SPLITS, Study
from medcodi.data.table import TableSchema
from medcodi.identity import fingerprint

if TYPE_CHECKING:
    import datasets

VERSION, INDEX, REJECTS, SUSPECTS = 1, "prepared.json", "rejects.csv", "suspects.csv"


class PreparedDataset:
    """One split of a prepared folder, memory-mapped: `len`, `[i] -> Study`, `.batch`, `.present`.
    Only the fields in `names` are decoded. Works as a torch map-style dataset; it pickles cheaply
    for worker processes."""

    def __init__(
        self,
        rows: "datasets.Dataset",
        index: dict[str, Any],
        names: list[str],
        indices: np.ndarray | None = None,
    ) -> None:
        self.index, self.names = index, names
        joined = joined_texts(index)
        self.joined = {name: joined[name] for name in names if name in joined}
        self.indices = np.arange(len(rows)) if indices is None else indices  # (N,) rows of the file
        self.fields = [FieldSpec(**spec) for spec in index["fields"] if spec["name"] in names]
        self.fields += [FieldSpec(name, Storage.TEXT) for name in self.joined]
        self.fields.sort(key=lambda spec: names.index(spec.name))
        self.schemas = {
            n: TableSchema.from_dicts(columns) for n, columns in index["tables"].items()
        }
        self._rows = rows

    @classmethod
    def load(
        cls,
        folder: str | Path,
        split: str,
        names: Sequence[str] | None = None,
        also: Sequence[str] = (),
    ) -> "PreparedDataset":
        """Open `split` of a folder written by `PreparedWriter`; `names` restricts the fields that
        are read (default: all that are stored, and of `also` those that are joined from them).

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
        stored, joined = [spec["name"] for spec in index["fields"]], joined_texts(index)
        names = [*stored, *(n for n in also if n in joined)] if names is None else list(names)
        for name in names:
            if name not in stored and name not in joined:
                raise unknown_key(name, [*stored, *joined], f"fields of {folder}")
        return cls(_map_rows(folder / f"{split}.arrow", index, names, split), index, names)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Study:
        return self.batch([i])[0]

    def batch(self, indices: Sequence[int], encoded: bool = False) -> list[Study]:
        """Studies at `indices`, in that order; absent values are not in `Study.values`. `encoded`:
        images as they are stored, `EncodedImage`."""
        chosen = self.indices[np.asarray(indices, np.int64)].tolist()
        if not chosen:
            return []
        columns = self._rows[chosen]
        return [
            self._study({name: column[i] for name, column in columns.items()}, encoded)
            for i in range(len(chosen))
        ]

    __getitems__ = batch  # torch data loaders fetch a batch at once

    def _study(self, row: dict[str, Any], encoded: bool) -> Study:
        values = {
            spec.name: EncodedImage(row[spec.name]["bytes"])
            if encoded and spec.storage == Storage.IMAGE
            else from_storage(spec, self.schemas.get(spec.name), row[spec.name])
            for spec in self.fields
            if spec.name not in self.joined and row[spec.name] is not None
        }
        for name, parts in self.joined.items():
            if texts := dict.fromkeys(row[part] for part in parts if row[part] is not None):
                values[name] = " ".join(texts)
        truth = None if row["truth"] is None else json.loads(row["truth"])
        return Study(row["study_id"], row["patient_id"], values, truth)

    @property
    def schema(self) -> TableSchema | None:
        """The fitted schema of the table field; None without one. ValueError when there are several
        (see `schemas`)."""
        schemas = [self.schemas[spec.name] for spec in self.fields if spec.storage == Storage.TABLE]
        if len(schemas) > 1:
            raise ValueError(
                "there are several tables: take `schemas[name]`, name one of "
                f"{sorted(self.schemas)}"
            )
        return schemas[0] if schemas else None

    @functools.cached_property
    def present(self) -> np.ndarray:
        """(N, M) bool in the order of `names`, from the null bitmaps: nothing is decoded."""
        columns = [
            np.any([self._rows.data.column(part).is_valid().to_numpy() for part in parts], axis=0)
            for parts in (self.joined.get(name, (name,)) for name in self.names)
        ]
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


def joined_texts(index: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Name that is no field -> the fields that it joins, from the index of a prepared folder."""
    stored = {spec["name"]: spec["storage"] for spec in index["fields"]}
    ending = f"_{KEPT[0]}"
    texts = [name.removesuffix(ending) for name in stored if name.endswith(ending)]
    joined = {f"{text}_{BOTH}": tuple(f"{text}_{kind}" for kind in KEPT) for text in texts}
    return {
        name: parts
        for name, parts in joined.items()
        if name not in stored and all(stored.get(part) == Storage.TEXT for part in parts)
    }


def dataset_identity(folder: str | Path) -> list[Any]:
    """What tells prepared folders apart: their index (with the checksums of the splits) and the ids
    of their studies."""
    splits = [PreparedDataset.load(folder, split, []) for split in ("train", "test", "validation")]
    return [splits[0].index, [dataset.study_ids for dataset in splits]]


def dataset_hash(folder: str | Path) -> str:
    """Of `dataset_identity`."""
    return fingerprint(dataset_identity(folder))


def _map_rows(
    path: Path, index: dict[str, Any], names: list[str], split: str
) -> "datasets.Dataset":
    """Memory-map a split with the columns that are read, images left as bytes."""
    import datasets  # slow to import: when needed

    num_studies = index["splits"][split]["studies"]
    try:
        rows = datasets.Dataset.from_file(str(path))
    except (OSError, ValueError) as error:  # pyarrow.ArrowInvalid is a ValueError
        raise ValueError(f"{path} is corrupted: {error}") from None
    if len(rows) != num_studies:
        raise ValueError(
            f"{path} is corrupted: it holds {len(rows)} studies, {INDEX} says {num_studies}"
        )
    joined = joined_texts(index)
    names = list(dict.fromkeys(part for name in names for part in joined.get(name, (name,))))
    rows = rows.select_columns([*RESERVED, *names])
    for name in names:
        if isinstance(rows.features[name], datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows
