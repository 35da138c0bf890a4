"""The DICOM run: walk the tree, read what is new, group to studies, write the prepared folder."""

import csv
import json
import logging
import os
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

from medcodi.config import build_dataclass
from medcodi.data.png import EncodedImage
from medcodi.data.prepared import INDEX, REJECTS, PreparedWriter
from medcodi.data.progress import tracked
from medcodi.data.sources.dicom.identity import keyed_hash, load_key
from medcodi.data.sources.dicom.options import DicomOptions, Record
from medcodi.data.sources.dicom.pool import read_all
from medcodi.data.sources.dicom.state import State
from medcodi.data.sources.dicom.view import View
from medcodi.data.sources.dicom.walk import walk
from medcodi.data.sources.dicom.work import Job
from medcodi.data.storage import STORAGES, FieldSpec
from medcodi.data.study import Study

logger = logging.getLogger(__name__)
PICTURE, TEXT, _, _ = STORAGES
NUM_SPACINGS = 20  # most frequent ones that prepared.json lists


def prepare_dicom(
    source_dir: str | Path,
    options: dict[str, Any] | DicomOptions,
    out_dir: str | Path,
    private_dir: str | Path | None = None,
    key_file: str | Path | None = None,
    num_workers: int | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from the DICOM files (and the reports beside them) below `source_dir`.

    `private_dir` (default `out_dir`.private) holds what must not travel with the prepared folder: the key of the hashes
    unless `key_file` or MEDCODI_PATIENT_KEY gives it, rejects.csv with the paths, and the finished files, so that the same
    call again reads new and changed files only. Returns counts. Raises FileNotFoundError for the source, ValueError for
    folders inside each other and for an `out_dir` that another run wrote (unless `overwrite`).
    """
    source, out = Path(source_dir), Path(out_dir)
    private = Path(private_dir) if private_dir is not None else out.with_name(f"{out.name}.private")
    options = options if isinstance(options, DicomOptions) else build_dataclass(DicomOptions, options, "options")
    _check_folders(source, out, private)
    key = load_key(key_file, private)
    with State(private, options.fingerprint() + keyed_hash(key, "key", "")) as state:
        owner = _owned(state, out, overwrite)
        if state.restarted:
            logger.info("%s was made with other options or another key: every file is read again", private)
        num_files = state.see(walk(source))
        common = _read_pending(state, source, options, key, num_workers or os.cpu_count() or 1)
        made_with = json.dumps([options.front, options.side, options.text, validation, test, str(out.resolve())])
        if state.get("written") != made_with or not (out / INDEX).is_file():
            fields = [FieldSpec(name, PICTURE) for name in (options.front, options.side)]
            fields.append(FieldSpec(options.text, TEXT))
            with PreparedWriter(out, fields, None, validation, test, overwrite=out.exists()) as writer:
                counts = _Assembly(writer, options, key, private, state).run(num_files)
                writer.notes = {"source": "dicom", "counts": counts, "owner": owner, **_spacing_notes(state, common)}
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
    """The name under which this private folder writes. Raises ValueError when `out` was written by something else."""
    if not state.get("owner"):
        state.set("owner", secrets.token_hex(8))
    owner = state.get("owner")
    if out.exists() and not overwrite:
        index = json.loads((out / INDEX).read_text(encoding="utf-8")) if (out / INDEX).is_file() else {}
        if index.get("notes", {}).get("owner") != owner:
            raise ValueError(f"{out} exists and was not written from this private folder: pass --overwrite, or another name")
    return owner


def _read_pending(
    state: State, source: Path, options: DicomOptions, key: bytes, num_workers: int
) -> tuple[float, float] | None:
    """Read what is not done. Returns the most frequent spacing [mm]; images are resampled to its aspect, so that they are
    made again in the rare case that it is not square."""
    while True:
        aspect = float(state.get("aspect") or 1.0)
        number, paths = state.pending(aspect)
        if number:
            job = Job(str(source.resolve()), options, key, aspect)
            for path, record in tracked(read_all(job, paths, min(num_workers, number)), number, "files"):
                state.add(path, record, aspect)
        common = common_spacing(state.spacings())
        found = round(common[0] / common[1], 3) if common else 1.0
        if found == aspect:
            return common
        logger.info("the common spacing is %g by %g mm: images are made again for it", *common)
        state.set("aspect", repr(found))


def common_spacing(counts: dict[tuple[float, float] | None, int]) -> tuple[float, float] | None:
    """The most frequent spacing, the smallest of equally frequent ones; None when no image has one."""
    known = {spacing: number for spacing, number in counts.items() if spacing is not None}
    return min(known, key=lambda spacing: (-known[spacing], spacing)) if known else None


def _spacing_notes(state: State, common: tuple[float, float] | None) -> dict[str, Any]:
    ordered = sorted(state.spacings().items(), key=lambda item: -item[1])[:NUM_SPACINGS]
    names = {spacing: "unknown" if spacing is None else f"{spacing[0]:g} x {spacing[1]:g}" for spacing, _ in ordered}
    return {"common_spacing_mm": common, "spacings_mm": {names[spacing]: number for spacing, number in ordered}}


class _Assembly:
    """Files of the state -> studies of the prepared folder. Lists every file that is in none, twice: with the hash of its
    path in the prepared folder, with the path in the private one."""

    def __init__(
        self, writer: PreparedWriter, options: DicomOptions, key: bytes, private: Path, state: State
    ) -> None:  # fmt: skip
        self.writer, self.key, self.private, self.state = writer, key, private, state
        self.fields = {View.FRONT.value: options.front, View.SIDE.value: options.side, "": options.text}
        self.counts: Counter[str] = Counter()

    def run(self, num_files: int) -> dict[str, int]:
        self.counts.update({"files": num_files, "studies": 0, "images": 0, "reports": 0, "rejected files": 0})
        with open(self.private / REJECTS, "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            self.listing = csv.writer(file)
            self.listing.writerow(["item", "path", "reason", "detail"])
            for path, record in self.state.rejected():
                self.counts["view unknown"] += record.reason.startswith("the view is unknown")
                self._reject(path, record.reason, record.detail)
            for study, files in self.state.studies():
                self._add(study, files)
        return dict(self.counts)

    def _add(self, study: str, files: list[tuple[bytes, Record]]) -> None:
        """One study: of each view the image that comes first by rank, of the reports the first (structured ones before
        text files, then by path)."""
        patient, values, instances = files[0][1].patient, {}, set()
        flags: Counter[str] = Counter()
        for path, record in sorted(files, key=_order):
            field = self.fields[record.view]
            if record.patient != patient:
                self._reject(path, "the study has files of another patient")
            elif record.instance and record.instance in instances:
                self._reject(path, "a copy of another file: the same SOPInstanceUID")
            elif field in values:
                what = "another report" if record.kind == "words" else "another image of this view"
                self._reject(path, f"the study has {what}, which comes first")
            else:
                values[field] = EncodedImage(self.state.png(path)) if record.kind == "picture" else record.text
                flags.update([*record.flags, "reports" if record.kind == "words" else "images"])
            instances.add(record.instance)
        if self.writer.add(Study(study, patient, values)):
            self.counts.update({"studies": 1, **flags})

    def _reject(self, path: bytes, reason: str, detail: str = "") -> None:
        item = f"file-{keyed_hash(self.key, 'path', path)[:16]}"
        self.writer.reject(item, reason)
        self.listing.writerow([item, os.fsdecode(path), reason, detail])
        self.counts["rejected files"] += 1


def _order(entry: tuple[bytes, Record]) -> tuple[Any, ...]:
    path, record = entry
    if record.kind == "words":
        return "words", record.flags[:1] == ["report from text file"], path
    return "picture", record.view, *record.rank, path
