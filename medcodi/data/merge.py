"""Several prepared folders -> one: one schema, patients kept apart, the source as a column of the
table. A study keeps the split that it has in its source."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcodi.config_io import unknown_key
from medcodi.data.prepared import PreparedDataset
from medcodi.data.progress import tracked
from medcodi.data.storage import FieldSpec, Storage
from medcodi.data.study import SPLITS, Study
from medcodi.data.table import Column, TableSchema
from medcodi.data.writer import PreparedWriter

NAME = re.compile(r"[A-Za-z0-9_]+")
BATCH = 64
COMPARED = ("type", "categories", "unit", "origin")  # of columns; the rest is fitted or of style


@dataclass
class Source:
    """A prepared folder under the name `name`; its patients are those of the sources with the same
    `patients`."""

    name: str
    folder: Path
    patients: str
    splits: dict[str, PreparedDataset]

    @property
    def fields(self) -> list[FieldSpec]:
        return self.splits[SPLITS[0]].fields

    @property
    def schemas(self) -> dict[str, TableSchema]:
        return self.splits[SPLITS[0]].schemas

    def __len__(self) -> int:
        return sum(map(len, self.splits.values()))


def merge_prepared(
    folders: Mapping[str, str | Path],
    out_dir: str | Path,
    table: str,
    source_column: str = "source",
    same_patients: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from `folders` (name of the source -> prepared folder).

    Fields of one name become one field; a study has those of its source, the others are absent.
    Columns of one name become one column of `table`, which also gets `source_column`. Study and
    patient ids get the name of the source in front. `same_patients` (source -> other source) says
    that two sources name patients alike: these share ids and one split.

    Returns counts. Raises ValueError for fewer than two folders, names that are no words, and
    fields, sizes of images or columns that disagree: all of them are named.
    """
    sources = _open(folders, dict(same_patients or {}))
    fields, schemas = _merged(sources, table, source_column)
    placed = _split_of_patients(sources)
    counts: dict[str, Any] = {"studies": 0}
    with PreparedWriter(out_dir, fields, schemas, overwrite=overwrite) as writer:
        for source in sources:
            counts[source.name] = 0
            studies = _studies(source, table, source_column)
            for split, study in tracked(studies, len(source), f"studies of {source.name}"):
                added = writer.add(study, placed.get(study.patient_id, split), movable=True)
                counts[source.name] += added
                counts["studies"] += added
        writer.notes = {"source": "merge", "counts": counts, "merged": _notes(sources)}
    return {**counts, "rejects": writer.num_rejects}


def _open(folders: Mapping[str, str | Path], same: dict[str, str]) -> list[Source]:
    if len(folders) < 2:
        raise ValueError(f"a merge takes at least two prepared folders, got {len(folders)}")
    for name in (*same, *same.values()):
        if name not in folders:
            raise unknown_key(name, folders, "the sources that are merged")
    sources = []
    for name, folder in folders.items():
        if not NAME.fullmatch(name):
            raise ValueError(f"a source is named by letters, digits and _, got {name!r}")
        splits = {split: PreparedDataset.load(folder, split) for split in SPLITS}
        sources.append(Source(name, Path(folder), same.get(name, name), splits))
    return sources


def _merged(
    sources: list[Source], table: str, source_column: str
) -> tuple[list[FieldSpec], dict[str, TableSchema]]:
    """The fields and schemas of all sources together."""
    fields: dict[str, tuple[FieldSpec, Source]] = {}
    columns: dict[str, dict[str, tuple[Column, Source]]] = {table: {}}
    faults: list[str] = []
    for source in sources:
        for spec in source.fields:
            first, where = fields.setdefault(spec.name, (spec, source))
            if (first.storage, first.shape) != (spec.storage, spec.shape):
                faults.append(
                    f"field {spec.name!r} is {_kind(first)} in {where.name} and {_kind(spec)} in "
                    f"{source.name}"
                )
        for name, schema in source.schemas.items():
            faults += _add_columns(columns.setdefault(name, {}), schema, name, source)
    faults += _sizes(sources)
    if fields.get(table, (None,))[0] and fields[table][0].storage != Storage.TABLE:
        faults.append(f"field {table!r} is no table: it cannot have the column {source_column!r}")
    if source_column in columns[table]:
        where = columns[table][source_column][1].name
        faults.append(f"{where} has a column {source_column!r} already: name another one")
    if faults:
        raise ValueError("the sources disagree: " + "; ".join(faults))
    columns[table] = {
        source_column: (Column(source_column, "categorical", [one.name for one in sources]), None),
        **columns[table],
    }
    specs = [spec for spec, _ in fields.values()]
    specs += [] if table in fields else [FieldSpec(table, Storage.TABLE)]
    schemas = {
        name: TableSchema([_unfitted(column) for column, _ in found.values()])
        for name, found in columns.items()
    }
    return specs, schemas


def _kind(spec: FieldSpec) -> str:
    return spec.storage if spec.shape is None else f"{spec.storage} of {spec.shape}"


def _add_columns(
    known: dict[str, tuple[Column, Source]], schema: TableSchema, table: str, source: Source
) -> list[str]:
    """Add the columns of `schema` to `known`; what disagrees with one that is there."""
    faults = []
    for column in schema.columns:
        first, where = known.setdefault(column.name, (column, source))
        mine, theirs = _meaning(first), _meaning(column)
        faults += [
            f"column {column.name!r} of {table!r} has the {key} {_shown(first, key)} in "
            f"{where.name} and {_shown(column, key)} in {source.name}"
            for key in COMPARED
            if mine[key] != theirs[key]
        ]
    return faults


def _unfitted(column: Column) -> Column:
    kept = {"unit": column.unit, "notation": column.notation}
    return Column(column.name, column.type, list(column.categories), **kept)


def _shown(column: Column, key: str) -> Any:
    return (column.notation.origin if key == "origin" else getattr(column, key)) or "none"


def _meaning(column: Column) -> dict[str, Any]:
    """What a stored value of the column means; the order of unordered categories is no part."""
    values = {key: _shown(column, key) for key in COMPARED}
    if column.type == "categorical":
        values["categories"] = sorted(column.categories)
    return values


def _sizes(sources: list[Source]) -> list[str]:
    """Fields whose images have another size in another source, by the first image of each."""
    found: dict[str, tuple[tuple[int, ...], Source]] = {}
    faults = []
    for source in sources:
        for spec in source.fields:
            shape = _first_shape(source, spec.name) if spec.storage == Storage.IMAGE else None
            if shape is None:
                continue
            first, where = found.setdefault(spec.name, (shape, source))
            if first != shape:
                faults.append(
                    f"images of {spec.name!r} are {first[1]} x {first[0]} in {where.name} and "
                    f"{shape[1]} x {shape[0]} in {source.name}"
                )
    return faults


def _first_shape(source: Source, name: str) -> tuple[int, ...] | None:
    for dataset in source.splits.values():
        having = dataset.having(name)
        if len(having):
            return having[0].values[name].shape
    return None


def _split_of_patients(sources: list[Source]) -> dict[str, str]:
    """(merged) patient -> split, of patients who are in several sources: that of the first one."""
    shared = [one.patients for one in sources]
    placed: dict[str, str] = {}
    for source in sources:
        if shared.count(source.patients) > 1:
            for split, dataset in source.splits.items():
                for patient in dataset.patient_ids:
                    placed.setdefault(f"{source.patients}-{patient}", split)
    return placed


def _studies(source: Source, table: str, source_column: str) -> Iterator[tuple[str, Study]]:
    """(split, study with its new ids), images as they are stored."""
    for split, dataset in source.splits.items():
        for start in range(0, len(dataset), BATCH):
            indices = range(start, min(start + BATCH, len(dataset)))
            for study in dataset.batch(indices, encoded=True):
                row = {**(study.values.get(table) or {}), source_column: source.name}
                yield (
                    split,
                    Study(
                        f"{source.name}-{study.study_id}",
                        f"{source.patients}-{study.patient_id}",
                        {**study.values, table: row},
                        study.truth,
                    ),
                )


def _notes(sources: list[Source]) -> dict[str, Any]:
    return {
        source.name: {"patients": source.patients, "studies": len(source)} for source in sources
    }
