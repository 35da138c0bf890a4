"""An archive: what a tree of image files holds and how it becomes studies. Other archives replace
what differs in them."""

import csv
import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medcodi.data.greys import Greys
from medcodi.data.png import EncodedImage
from medcodi.data.prepared import REJECTS, SUSPECTS
from medcodi.data.sections import COMPARES, ReportText, has_content, only_compares, read_report
from medcodi.data.storage import FieldSpec, Storage
from medcodi.data.study import Study
from medcodi.data.table import Column, TableSchema
from medcodi.data.writer import PreparedWriter
from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.options import DicomOptions, Record
from medcodi.sources.archive.state import State
from medcodi.sources.archive.walk import Found, walk
from medcodi.sources.archive.work import Job, read_one
from medcodi.sources.dicom.person import PROJECTIONS, SEXES
from medcodi.sources.dicom.view import View

VIEWS = "views.csv"


def header_schema() -> TableSchema:
    """The table of what the headers say."""
    return TableSchema(
        [
            Column("projection", "categorical", list(PROJECTIONS)),
            Column("sex", "categorical", list(SEXES)),
            Column("age", "integer", unit="years"),
        ]
    )


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
        pictures = [
            FieldSpec(name, Storage.IMAGE) for name in (self.options.front, self.options.side)
        ]
        header = [FieldSpec(self.options.header, Storage.TABLE)] if self.options.header else []
        texts = [self.options.text, *self.options.section_fields.values()]
        return [*pictures, *(FieldSpec(name, Storage.TEXT) for name in texts), *header]

    @property
    def schemas(self) -> dict[str, TableSchema]:
        return {self.options.header: header_schema()} if self.options.header else {}

    def ready(self, state: State) -> None:
        """Called when every file is read, before `fields` and `schemas` are asked for."""

    def other_views(self) -> list[tuple[str, str, str, int]]:
        """Rows as `State.views`, of images that were refused by their view without being read."""
        return []

    def depends_on(self) -> Any:
        """JSON-like: beside the files, what the prepared folder is made of; when it changes, the
        folder is written again."""
        options = self.options
        names = [options.front, options.side, options.text]
        kept = ["sections kept"] if options.keep_sections else []
        return [*names, options.multiple, options.header, options.text_sections, *kept]

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
        self.kept: dict[bytes, Mapping[str, str]] = {}  # sections of the reports of one study
        self.repeated = state.repeated()
        self.met: set[str] = set()  # of these, those of the studies so far

    def run(self, num_files: int) -> dict[str, int]:
        self.counts.update(
            {"files": num_files, "studies": 0, "images": 0, "reports": 0, "rejected files": 0}
        )
        kinds = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
        with (
            open(self.private / REJECTS, "w", **kinds) as rejects,
            open(self.private / SUSPECTS, "w", **kinds) as suspects,
        ):
            self.listing, self.suspects = csv.writer(rejects), csv.writer(suspects)
            self.listing.writerow(["item", "path", "reason", "detail"])
            self.suspects.writerow(["study_id", "name", "path", "reasons"])
            for path, record in self.state.rejected():
                self.counts["view unknown"] += record.reason.startswith("the view is unknown")
                self.reject(path, record.reason, record.detail)
            self.add_studies()
        self.list_views()
        return dict(self.counts)

    def add_studies(self) -> None:
        """Hand every study to the writer."""
        for study, files in self.state.studies():
            patient = files[0][1].patient
            for number, (values, flags) in enumerate(self.choose(files), start=1):
                if values:
                    self.add(Study(numbered(study, number), patient, values), flags)

    def add(self, study: Study, flags: Counter[str], split: str | None = None) -> None:
        if self.writer.add(study, split):
            self.counts.update({"studies": 1, **flags})

    def choose(
        self, files: list[tuple[bytes, Record]]
    ) -> list[tuple[dict[str, Any], Counter[str]]]:
        """(values, what to count) of the files of one study: of each view the image that comes
        first by rank, of the reports the first (structured ones before text files, then by path).
        The others are listed; with `multiple` "all" the second images make a second study, which
        has the report too, and so on. There is at least one, empty where no file can be used."""
        self.kept.clear()
        found: dict[str, list[tuple[bytes, Record]]] = {}
        instances: set[str] = set()
        for path, record in sorted(files, key=_order):
            name = self.names[record.view]
            several = self.archive.options.multiple == "all" and record.kind == "picture"
            if record.patient != files[0][1].patient:
                self.reject(path, "the study has files of another patient")
            elif record.instance and record.instance in instances:
                self.reject(path, "a copy of another file: the same SOPInstanceUID")
            elif record.instance in self.met:
                self.reject(path, "a copy of a file of another study: the same SOPInstanceUID")
            elif name in found and not several:
                what = "another report" if record.kind == "words" else "another image of this view"
                self.reject(path, f"the study has {what}, which comes first")
            elif record.kind == "words" and not (words := self.words(record)).text:
                self.counts.update(words.notes)
                self.reject(path, "the report has no content, or none in the wanted sections")
            elif record.kind == "words":
                self.kept[path] = words.kept
                section = [f"report from {words.section}"] if words.section else []
                said = [*record.flags, *words.notes, *section]
                one = dataclasses.replace(record, text=words.text, flags=said)
                found.setdefault(name, []).append((path, one))
            else:
                found.setdefault(name, []).append((path, record))
            instances.add(record.instance)
        self.met |= instances & self.repeated
        pictures = {name: ones for name, ones in found.items() if name != self.names[""]}
        number = max([1, *map(len, pictures.values())])
        words = found.get(self.names[""], [])
        return [
            self._values(
                [*words, *(ones[turn] for ones in pictures.values() if turn < len(ones))], turn
            )
            for turn in range(number)
        ]

    def _values(
        self, files: list[tuple[bytes, Record]], turn: int
    ) -> tuple[dict[str, Any], Counter[str]]:
        """(values, what to count) of the files of the study `turn` of several."""
        values: dict[str, Any] = {}
        flags: Counter[str] = Counter()
        for path, record in files:
            values[self.names[record.view]] = self._value(path, record)
            values |= self.archive.options.sections_of(self.kept.get(path, {}))
            if record.kind == "picture":
                flags.update([*record.flags, "images"])
                flags["suspects"] += bool(record.suspect)
            elif turn == 0:
                flags.update([*record.flags, "reports"])
        row = self._header(files) if self.archive.options.header else {}
        if row:
            values[self.archive.options.header] = row
        return values, flags

    def _header(self, files: list[tuple[bytes, Record]]) -> dict[str, Any]:
        """Projection of the frontal image; sex and age of the first image that states them."""
        row: dict[str, Any] = {}
        for _, record in files:
            row = {**record.person, **row}
            if record.view == View.FRONT.value and record.projection in PROJECTIONS:
                row["projection"] = record.projection
        return row

    def list_views(self) -> None:
        """What was said of the views, with the texts in the private folder, without in the notes:
        both add up to the images whose view was looked at."""
        rows = [*self.state.views(), *self.archive.other_views()]
        with open(self.private / VIEWS, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["said", "view", "projection", "images"], *rows])
        totals: Counter[str] = Counter()
        for _, view, projection, number in rows:
            totals[f"{view} {projection or ''}".strip()] += number
        self.writer.notes["views looked at"] = dict(sorted(totals.items()))

    def _value(self, path: bytes, record: Record) -> EncodedImage | str:
        """What the study gets of the file; a suspect stands with its path in the private list."""
        if record.kind == "words":
            return record.text
        if record.suspect:
            row = [record.study, self.names[record.view], os.fsdecode(path)]
            self.suspects.writerow([*row, "; ".join(record.suspect)])
        greys = Greys.from_dict(record.greys) if record.greys else None
        mark = bytes.fromhex(record.mark)
        return EncodedImage(self.state.png(path), greys, mark, record.suspect)

    def words(self, record: Record) -> ReportText:
        """The text of a report: its whole text, or that of the wanted sections."""
        options = self.archive.options
        if options.text_sections:
            return read_report(record.text).choose(options.text_sections)
        kept = read_report(record.text).kept if options.keep_sections else {}
        compares = not has_content(record.text) and only_compares(record.text)
        text = record.text if compares or has_content(record.text) else ""
        return ReportText(text, "", (COMPARES,) if compares else (), kept)

    def reject(self, path: bytes, reason: str, detail: str = "") -> None:
        item = f"file-{keyed_hash(self.archive.key, 'path', path)[:16]}"
        self.writer.reject(item, reason)
        self.listing.writerow([item, os.fsdecode(path), reason, detail])
        self.counts["rejected files"] += 1


def numbered(study: str, number: int) -> str:
    """Name of the study `number` (from 1) of several that one study becomes."""
    return study if number == 1 else f"{study}.{number}"


def _order(entry: tuple[bytes, Record]) -> tuple[Any, ...]:
    path, record = entry
    if record.kind == "words":
        return "words", record.flags[:1] == ["report from text file"], path
    return "picture", record.view, *record.rank, path
