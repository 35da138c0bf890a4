"""An archive: what a tree of image files holds and how it becomes studies. Other archives replace
what differs in them."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from medcodi.data.png import EncodedImage
from medcodi.data.prepared import REJECTS
from medcodi.data.storage import STORAGES, FieldSpec
from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.data.writer import PreparedWriter
from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.options import DicomOptions, Record
from medcodi.sources.archive.state import State
from medcodi.sources.archive.walk import Found, walk
from medcodi.sources.archive.work import Job, read_one
from medcodi.sources.dicom.view import View

PICTURE, TEXT, TABLE, _ = STORAGES


class Archive:
    """A tree of DICOM files with the reports among them: studies by StudyInstanceUID.

    `key`: of the hashes. Subclasses replace `task` (one file -> Record, in a worker), `entries`,
    `job`, `fields`, `depends_on` and `assembly`.
    """

    name = "dicom"
    task: Callable[[Job, bytes], Record] = staticmethod(read_one)

    def __init__(self, source: Path, options: DicomOptions, key: bytes) -> None:
        self.source, self.options, self.key = source, options, key

    def entries(self) -> Iterator[Found]:
        """The files that are read (and those that are refused unread)."""
        return walk(self.source)

    def job(self, aspect: float) -> Job:
        return Job(str(self.source.resolve()), self.options.for_workers(), self.key, aspect)

    def fingerprint(self) -> str:
        """What a finished file depends on; when it changes, every file is read again."""
        return self.options.fingerprint()

    @property
    def fields(self) -> list[FieldSpec]:
        pictures = [FieldSpec(name, PICTURE) for name in (self.options.front, self.options.side)]
        return [*pictures, FieldSpec(self.options.text, TEXT)]

    @property
    def schemas(self) -> dict[str, TableSchema]:
        return {}

    def ready(self, state: State) -> None:
        """Called when every file is read, before `fields` and `schemas` are asked for."""

    def depends_on(self) -> Any:
        """JSON-like: beside the files, what the prepared folder is made of; when it changes, the
        folder is written again."""
        return [self.options.front, self.options.side, self.options.text]

    def assembly(self, writer: PreparedWriter, private: Path, state: State) -> "Assembly":
        return Assembly(self, writer, private, state)


class Assembly:
    """Files of the state -> studies of the prepared folder. Lists every file that is in none,
    twice: with the hash of its path in the prepared folder, with the path in the private one."""

    def __init__(
        self, archive: Archive, writer: PreparedWriter, private: Path, state: State
    ) -> None:
        self.archive, self.writer, self.private, self.state = archive, writer, private, state
        options = archive.options
        self.names = {
            View.FRONT.value: options.front,
            View.SIDE.value: options.side,
            "": options.text,
        }
        self.counts: Counter[str] = Counter()
        self.repeated = state.repeated()
        self.met: set[str] = set()  # of these, those of the studies so far

    def run(self, num_files: int) -> dict[str, int]:
        self.counts.update(
            {"files": num_files, "studies": 0, "images": 0, "reports": 0, "rejected files": 0}
        )
        with open(
            self.private / REJECTS, "w", newline="", encoding="utf-8", errors="backslashreplace"
        ) as file:
            self.listing = csv.writer(file)
            self.listing.writerow(["item", "path", "reason", "detail"])
            for path, record in self.state.rejected():
                self.counts["view unknown"] += record.reason.startswith("the view is unknown")
                self.reject(path, record.reason, record.detail)
            self.add_studies()
        return dict(self.counts)

    def add_studies(self) -> None:
        """Hand every study to the writer."""
        for study, files in self.state.studies():
            values, flags = self.choose(files)
            if values:
                self.add(Study(study, files[0][1].patient, values), flags)

    def add(self, study: Study, flags: Counter[str], split: str | None = None) -> None:
        if self.writer.add(study, split):
            self.counts.update({"studies": 1, **flags})

    def choose(self, files: list[tuple[bytes, Record]]) -> tuple[dict[str, Any], Counter[str]]:
        """(values, what to count) of the files of one study: of each view the image that comes
        first by rank, of the reports the first (structured ones before text files, then by path).
        The others are listed."""
        values: dict[str, Any] = {}
        instances: set[str] = set()
        flags: Counter[str] = Counter()
        for path, record in sorted(files, key=_order):
            name = self.names[record.view]
            if record.patient != files[0][1].patient:
                self.reject(path, "the study has files of another patient")
            elif record.instance and record.instance in instances:
                self.reject(path, "a copy of another file: the same SOPInstanceUID")
            elif record.instance in self.met:
                self.reject(path, "a copy of a file of another study: the same SOPInstanceUID")
            elif name in values:
                what = "another report" if record.kind == "words" else "another image of this view"
                self.reject(path, f"the study has {what}, which comes first")
            else:
                values[name] = (
                    EncodedImage(self.state.png(path)) if record.kind == "picture" else record.text
                )
                flags.update([*record.flags, "reports" if record.kind == "words" else "images"])
            instances.add(record.instance)
        self.met |= instances & self.repeated
        return values, flags

    def reject(self, path: bytes, reason: str, detail: str = "") -> None:
        item = f"file-{keyed_hash(self.archive.key, 'path', path)[:16]}"
        self.writer.reject(item, reason)
        self.listing.writerow([item, os.fsdecode(path), reason, detail])
        self.counts["rejected files"] += 1


def _order(entry: tuple[bytes, Record]) -> tuple[Any, ...]:
    path, record = entry
    if record.kind == "words":
        return "words", record.flags[:1] == ["report from text file"], path
    return "picture", record.view, *record.rank, path
