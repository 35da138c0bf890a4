"""`medcodi impute`: what is absent in a prepared folder is generated, what is there stays.

First what values lack (missing columns) is generated given the rest of the study, then whole values
that are absent, jointly, given all of that. Studies are filled a chunk at a time into a work folder
beside the output, so that a run that was stopped goes on; the output appears when it is whole.
"""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from medcodi.config_io import unknown_key
from medcodi.data.prepared import PreparedDataset, dataset_identity
from medcodi.data.storage import FieldSpec
from medcodi.data.study import SPLITS, Study
from medcodi.data.table import TableSchema
from medcodi.data.writer import PreparedWriter
from medcodi.diffusion.sampler import SAMPLER_VERSION
from medcodi.files import written
from medcodi.identity import fingerprint
from medcodi.modalities.parts import Part
from medcodi.nn.seeding import derive_seed
from medcodi.pipeline.pipeline import MedCoDiPipeline

MARKS, HEAD = "imputed.csv", "head.json"
CHUNK = 256  # studies that are filled and stored at once


@dataclass(frozen=True)
class Settings:
    """How values are generated. `fill`: names of modalities (None: all that folder and pipeline
    share; a name that the folder lacks becomes a new field)."""

    fill: Sequence[str] | None = None
    num_inference_steps: int = 25
    guidance_scale: float | None = None
    seed: int = 0
    batch_size: int = 32


@dataclass
class Filled:
    """What was generated for one study: `values` by modality name, and the `columns` of those that
    were only incomplete."""

    values: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)


def impute(
    prepared: Path, output: Path, pipe: MedCoDiPipeline, settings: Settings
) -> dict[str, Any]:
    """Write the prepared folder `output`: the studies of `prepared` in their splits, every value as
    it is there, what is absent generated. `imputed.csv` in it lists all that was generated.

    Returns counts. Raises ValueError for names that are none, a schema that is not the pipeline's,
    an output that exists, and a work folder of another run.
    """
    if output.exists():
        raise ValueError(f"{output} exists already: choose another folder, or remove it")
    splits = {
        split: PreparedDataset.load(prepared, split, also=pipe.modalities) for split in SPLITS
    }
    names = _names(pipe, splits[SPLITS[0]], settings.fill)
    fields, schemas = _fields(pipe, splits[SPLITS[0]], names)
    work = output.with_name(f"{output.name}.imputing")
    sampling = [SAMPLER_VERSION, {n: pipe.family.modality(n).args.sampling() for n in names}]
    told = fingerprint(
        [dataset_identity(prepared), pipe.model_hash, sampling, names, asdict(settings)]
    )
    _open(work, told)
    chunks = [
        (split, range(start, min(start + CHUNK, len(data))))
        for split, data in splits.items()
        for start in range(0, len(data), CHUNK)
    ]
    for number, (split, rows) in enumerate(tqdm(chunks, unit="chunk")):
        if not _path(work, number).is_file():
            _store(_path(work, number), fill(pipe, splits[split].batch(rows), names, settings))
    counts = _assemble(output, work, splits, chunks, fields, schemas, pipe.model_hash, settings)
    shutil.rmtree(work)
    return counts


def fill(
    pipe: MedCoDiPipeline, studies: Sequence[Study], names: Sequence[str], settings: Settings
) -> list[Filled]:
    """What each study lacks of `names`. A study's seeds are its own, whatever the others are."""
    parts = {name: pipe.family.modality(name).parts for name in names}
    known = [{n: v for n, v in study.values.items() if n in pipe.modalities} for study in studies]
    found = [Filled() for _ in studies]
    for complete in (False, True):  # first what is incomplete, then what is absent
        wanted: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
        kept: list[dict[str, Part]] = []
        for row, values in enumerate(known):
            lacking = {n: parts[n].lacking(values.get(n)) for n in names}
            open_names = [n for n in names if n in values and lacking[n] is not None]
            outputs = [n for n in names if n not in values] if complete else open_names
            prompts = [n for n in values if complete or n not in open_names]
            kept.append({n: part for n in outputs if (part := lacking[n]) is not None})
            if outputs:
                wanted.setdefault((tuple(prompts), tuple(outputs)), []).append(row)
        for (prompts, outputs), rows in wanted.items():
            out = _generated(pipe, studies, known, kept, rows, prompts, outputs, settings)
            for at, row in enumerate(rows):
                for name in outputs:
                    value = out[name][at]
                    if isinstance(value, str) and not value.strip():
                        continue  # the model said nothing
                    if name in known[row]:
                        found[row].columns[name] = list(kept[row][name].gap)
                    known[row][name] = found[row].values[name] = value
    return found


def _generated(
    pipe: MedCoDiPipeline,
    studies: Sequence[Study],
    known: Sequence[dict[str, Any]],
    kept: Sequence[dict[str, Part]],
    rows: Sequence[int],
    prompts: Sequence[str],
    outputs: Sequence[str],
    settings: Settings,
) -> dict[str, list[Any]]:
    keep = {n: [kept[row].get(n) for row in rows] for n in outputs}
    keep = {n: parts for n, parts in keep.items() if any(part is not None for part in parts)}
    return pipe(
        {n: [known[row][n] for row in rows] for n in prompts},
        list(outputs),
        settings.num_inference_steps,
        settings.guidance_scale,
        num_images_per_prompt=1 if prompts or keep else len(rows),
        batch_size=settings.batch_size,
        seeds=[derive_seed(settings.seed, studies[row].study_id, outputs) for row in rows],
        keep=keep,
    ).stored


def _names(pipe: MedCoDiPipeline, data: PreparedDataset, asked: Sequence[str] | None) -> list[str]:
    if asked is None:
        shared = [name for name in pipe.modalities if name in data.names]
        if not shared:
            raise ValueError(
                f"the folder has {', '.join(data.names)}, the pipeline {', '.join(pipe.modalities)}"
            )
        return shared
    for name in asked:
        if name not in pipe.modalities:
            raise unknown_key(name, pipe.modalities, "the modalities of this pipeline")
    return [name for name in pipe.modalities if name in asked]


def _fields(
    pipe: MedCoDiPipeline, data: PreparedDataset, names: Sequence[str]
) -> tuple[list[FieldSpec], dict[str, TableSchema]]:
    """The fields of the folder and those that are new. ValueError for a field of another kind and a
    table of other columns."""
    fields, schemas = {spec.name: spec for spec in data.fields}, dict(data.schemas)
    for name in pipe.modalities:
        modality = pipe.family.modality(name)
        own = modality.field()
        if name not in fields:
            if name in names:
                fields[name] = own
                schemas |= modality.schemas()
            continue
        if fields[name] != own:
            raise ValueError(f"field {name!r} is {fields[name]}, the pipeline has {own}")
        for table, schema in modality.schemas().items():
            there = schemas[table].names
            if there != schema.names:
                other = sorted(set(there) ^ set(schema.names)) or there
                raise ValueError(
                    f"table {table!r}: folder and pipeline do not have the same columns in the "
                    f"same order: {', '.join(other[:5])}"
                )
    return list(fields.values()), schemas


def _open(work: Path, told: str) -> None:
    head = work / HEAD
    if head.is_file():
        if json.loads(head.read_text()) != told:
            raise ValueError(
                f"{work} holds the work of another run (other data, pipeline or settings): remove "
                "it, or write to another folder"
            )
        return
    with written(head) as path:
        path.write_text(json.dumps(told))


def _path(work: Path, number: int) -> Path:
    return work / f"chunk_{number:06d}.npz"


def _store(path: Path, filled: Sequence[Filled]) -> None:
    """Arrays as they are; the rest as JSON."""
    arrays: dict[str, np.ndarray] = {}
    plain = []
    for row, one in enumerate(filled):
        plain.append({"values": {}, "columns": one.columns, "arrays": []})
        for name, value in one.values.items():
            if isinstance(value, np.ndarray):
                arrays[f"{row}/{name}"] = value
                plain[-1]["arrays"].append(name)
            else:
                plain[-1]["values"][name] = value
    arrays["plain"] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    with written(path) as temporary:
        np.savez(temporary, **arrays)


def _load(path: Path) -> list[Filled]:
    with np.load(path, allow_pickle=False) as arrays:
        plain = json.loads(arrays["plain"].tobytes())
        return [
            Filled(
                one["values"] | {name: arrays[f"{row}/{name}"] for name in one["arrays"]},
                one["columns"],
            )
            for row, one in enumerate(plain)
        ]


def _assemble(
    output: Path,
    work: Path,
    splits: dict[str, PreparedDataset],
    chunks: Sequence[tuple[str, range]],
    fields: list[FieldSpec],
    schemas: dict[str, TableSchema],
    model_hash: str,
    settings: Settings,
) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    with PreparedWriter(output, fields, schemas, find_duplicates=False) as writer:
        with open(writer.beside(MARKS), "w", newline="", encoding="utf-8") as file:
            marks = csv.writer(file)
            marks.writerow(["split", "study_id", "modality", "columns"])
            for number, (split, rows) in enumerate(chunks):
                filled = _load(_path(work, number))
                studies = splits[split].batch(rows, encoded=True)
                for study, one in zip(studies, filled, strict=True):
                    values = study.values | one.values
                    writer.add(Study(study.study_id, study.patient_id, values, study.truth), split)
                    counts["studies"] += 1
                    for mark in _marks(one):
                        marks.writerow([split, study.study_id, *mark])
                        counts[f"{mark[0]} ({'columns' if mark[1] else 'whole'})"] += 1
        writer.notes = {
            "source": "impute",
            "model_hash": model_hash,
            "settings": asdict(settings),
            "counts": dict(counts),
        }
    return {**counts, "rejects": writer.num_rejects}


def _marks(filled: Filled) -> Iterator[tuple[str, str]]:
    for name in filled.values:
        yield name, ";".join(filled.columns.get(name, []))
