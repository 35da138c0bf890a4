"""The run over a tree of image files: list it, read what is new, group to studies, write the
prepared folder."""

import json
import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medcodi.config_io import build_dataclass
from medcodi.data.prepared import INDEX
from medcodi.data.progress import tracked
from medcodi.data.writer import PreparedWriter
from medcodi.sources.archive.archive import Archive
from medcodi.sources.archive.identity import keyed_hash, load_key
from medcodi.sources.archive.options import DicomOptions
from medcodi.sources.archive.pool import read_all
from medcodi.sources.archive.state import State

logger = logging.getLogger(__name__)
NUM_SPACINGS = 20  # most frequent ones that prepared.json lists


def prepare_dicom(
    source_dir: str | Path,
    options: dict[str, Any] | DicomOptions,
    out_dir: str | Path,
    **writing: Any,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from the DICOM files (and the reports beside them) below
    `source_dir`; `writing`: further arguments of `prepare_archive`. Returns counts."""
    source = Path(source_dir)
    options = build_dataclass(DicomOptions, options, "options")
    return prepare_archive(source, lambda key: Archive(source, options, key), out_dir, **writing)


def prepare_archive(
    source: Path,
    open_archive: Callable[[bytes], Archive],
    out_dir: str | Path,
    private_dir: str | Path | None = None,
    key_file: str | Path | None = None,
    num_workers: int | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from an archive below `source`; `open_archive` gets the
    key of the hashes.

    `private_dir` (default `out_dir`.private) holds what must not travel with the prepared folder:
    the key of the hashes unless `key_file` or MEDCODI_PATIENT_KEY gives it, rejects.csv with the
    paths, and the finished files, so that the same call again reads new and changed files only.
    Returns counts. Raises FileNotFoundError for the source, ValueError for folders inside each
    other and for an `out_dir` that another run wrote (unless `overwrite`).
    """
    out = Path(out_dir)
    private = Path(private_dir) if private_dir is not None else out.with_name(f"{out.name}.private")
    _check_folders(source, out, private)
    key = load_key(key_file, private)
    archive = open_archive(key)
    with State.opened(private, archive.fingerprint() + keyed_hash(key, "key", "")) as state:
        owner = _owned(state, out, overwrite)
        if state.restarted:
            logger.info(
                "%s was made with other options or another key: every file is read again", private
            )
        num_files = state.see(archive.entries())
        common = _read_pending(state, archive, num_workers or os.cpu_count() or 1)
        made_with = json.dumps(
            [archive.name, archive.depends_on(), validation, test, str(out.resolve())]
        )
        if state.get("written") != made_with or not (out / INDEX).is_file():
            archive.ready(state)
            fields, schemas = archive.fields, archive.schemas
            with PreparedWriter(
                out, fields, schemas, validation, test, overwrite=out.exists()
            ) as writer:
                counts = archive.assembly(writer, private, state).run(num_files)
                notes = {
                    "source": archive.name,
                    "counts": counts,
                    "owner": owner,
                    **_spacing_notes(state, common),
                }
                writer.notes = {**writer.notes, **notes}
            state.set("written", made_with)
    return json.loads((out / INDEX).read_text(encoding="utf-8"))["notes"]["counts"]


def _check_folders(source: Path, out: Path, private: Path) -> None:
    if not source.is_dir():
        raise FileNotFoundError(f"source folder {source} does not exist")
    for what, inner, outer in (
        ("prepared folder lies inside the source", out, source),
        ("private folder lies inside the source", private, source),
        ("private folder lies inside the prepared folder", private, out),
        ("source lies inside the prepared folder", source, out),
    ):
        if inner.resolve().is_relative_to(outer.resolve()):
            raise ValueError(f"the {what}: {inner} in {outer}")


def _owned(state: State, out: Path, overwrite: bool) -> str:
    """The name under which this private folder writes. Raises ValueError when `out` was written by
    something else."""
    if not state.get("owner"):
        state.set("owner", secrets.token_hex(8))
    owner = state.get("owner")
    if out.exists() and not overwrite:
        index = (
            json.loads((out / INDEX).read_text(encoding="utf-8")) if (out / INDEX).is_file() else {}
        )
        if index.get("notes", {}).get("owner") != owner:
            raise ValueError(
                f"{out} exists and was not written from this private folder: pass --overwrite, or "
                "another name"
            )
    return owner


def _read_pending(state: State, archive: Archive, num_workers: int) -> tuple[float, float] | None:
    """Read what is not done. Returns the most frequent spacing [mm]; images are resampled to its
    aspect, so that they are made again in the rare case that it is not square."""
    while True:
        aspect = float(state.get("aspect") or 1.0)
        number, paths = state.pending(aspect)
        if number:
            records = read_all(archive.job(aspect), paths, min(num_workers, number), archive.task)
            for path, record in tracked(records, number, "files"):
                state.add(path, record, aspect)
        common = common_spacing(state.spacings())
        found = round(common[0] / common[1], 3) if common else 1.0
        if found == aspect:
            return common
        logger.info("the common spacing is %g by %g mm: images are made again for it", *common)
        state.set("aspect", repr(found))


def common_spacing(counts: dict[tuple[float, float] | None, int]) -> tuple[float, float] | None:
    """The most frequent spacing, the smallest of equally frequent ones; None without any."""
    known = {spacing: number for spacing, number in counts.items() if spacing is not None}
    return min(known, key=lambda spacing: (-known[spacing], spacing)) if known else None


def _spacing_notes(state: State, common: tuple[float, float] | None) -> dict[str, Any]:
    ordered = sorted(state.spacings().items(), key=lambda item: -item[1])[:NUM_SPACINGS]
    names = {
        spacing: "unknown" if spacing is None else f"{spacing[0]:g} x {spacing[1]:g}"
        for spacing, _ in ordered
    }
    return {
        "common_spacing_mm": common,
        "spacings_mm": {names[spacing]: number for spacing, number in ordered},
    }
