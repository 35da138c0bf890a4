"""The run: an archive of the DICOM source whose identities come from the folders, views from the
metadata, texts from the impressions, and whose studies are those of the selection."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medcodi.config_io import build_dataclass, unknown_key
from medcodi.data.storage import FieldSpec, Storage
from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.data.writer import PreparedWriter
from medcodi.sources.archive.archive import Assembly, numbered
from medcodi.sources.archive.hinted import HintedArchive
from medcodi.sources.archive.hints import Hint
from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.options import DicomOptions
from medcodi.sources.archive.prepare import prepare_archive
from medcodi.sources.archive.state import State
from medcodi.sources.dicom.view import Seen
from medcodi.sources.mimic_cxr.layout import labels, splits, views
from medcodi.sources.mimic_cxr.selection import SELECT, StudyFiles, select_studies

SHARE = 0.1  # of a split, where none is given
DEFAULT_SECTIONS = ("impression", "conclusion", "last paragraph")


@dataclass
class MimicOptions(DicomOptions):
    """`select`: see selection.py. `text_sections`: sections of a report that may stand for its
    text, in this order (data/sections.py). `official_split`: the published split instead of the
    one by hash (both keep patients apart). `labels`: name of a table field for the CheXpert labels,
    "" for none."""

    select: str = "study"
    text_sections: list[str] = field(default_factory=lambda: list(DEFAULT_SECTIONS))
    official_split: bool = False
    labels: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.select not in SELECT:
            raise unknown_key(self.select, SELECT, "options.select")
        if self.labels in (self.front, self.side, self.text):
            raise ValueError(f"the labels need a name of their own, got {self.labels!r}")


def _hint(patient: str, study: str, seen: Seen | None) -> Hint:
    """What the folders and the metadata say of an image."""
    if seen is None:
        return Hint(patient, study)
    return Hint(patient, study, seen.projection or seen.view.name, seen.said)


class MimicArchive(HintedArchive):
    """`reports`: folder whose files/pXX/... holds the reports."""

    name = "mimic_cxr"
    options: MimicOptions

    def __init__(self, source: Path, reports: Path, options: MimicOptions, key: bytes) -> None:
        known = views(source)
        digest = hashlib.sha256()
        for name, seen in sorted((known or {}).items()):
            digest.update(f"{name} {seen}\n".encode())
        self.known_views = digest.hexdigest()
        self.selection = select_studies(
            source, reports, known, options.select, tuple(options.text_sections)
        )
        if not self.selection.counts["images"]:
            raise ValueError(
                f"{source} holds no image in the published layout, "
                "files/pXX/pXXXXXXXX/sXXXXXXXX/NAME.dcm or .jpg"
            )
        self.splits = splits(source) if options.official_split else {}
        self.columns, self.labels = labels(source) if options.labels else ([], {})
        files = [
            (file.found, _hint(study.patient, name, (known or {}).get(file.name)))
            for name, study in self.selection.studies.items()
            for images in study.images.values()
            for file in images
        ]
        super().__init__(source, options, key, files, self.selection.refused)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} views {self.known_views}"

    @property
    def fields(self) -> list[FieldSpec]:
        return [
            *super().fields,
            *([FieldSpec(self.options.labels, Storage.TABLE)] if self.options.labels else []),
        ]

    @property
    def schemas(self) -> dict[str, TableSchema]:
        own = {self.options.labels: TableSchema(self.columns)} if self.options.labels else {}
        return {**super().schemas, **own}

    def other_views(self) -> list[tuple[str, str, str, int]]:
        return [(*said, number) for said, number in self.selection.views.items()]

    def depends_on(self) -> Any:
        texts = hashlib.sha256()
        for name, study in sorted(self.selection.studies.items()):
            given = study.impression.text if study.impression else ""
            if study.impression and self.options.keep_sections:
                given += repr(sorted(study.impression.kept.items()))
            texts.update(
                repr((name, given, self.splits.get(study.patient), self.labels.get(name))).encode()
            )
        options = [
            self.options.select,
            self.options.text_sections,
            self.options.official_split,
            self.options.labels,
        ]
        return [super().depends_on(), options, texts.hexdigest()]

    def assembly(self, writer: PreparedWriter, private: Path, state: State) -> "MimicAssembly":
        return MimicAssembly(self, writer, private, state)


class MimicAssembly(Assembly):
    archive: MimicArchive

    def add_studies(self) -> None:
        """The studies of the selection in the order of their names; one that an unreadable image
        leaves incomplete is listed (for `select` "study")."""
        self.writer.notes["selection"] = self.archive.selection.counts
        for name, files in sorted(self.archive.selection.studies.items()):
            study = keyed_hash(self.archive.key, "study", name)
            patient = keyed_hash(self.archive.key, "patient", files.patient)
            split = self._split(files)
            for number, (values, flags) in enumerate(self.choose(self.state.files(study)), start=1):
                self._add_text_and_labels(name, files, values, flags)
                one = numbered(study, number)
                if self._is_incomplete(one, values):
                    continue
                if split is None:
                    self.writer.reject(one, "the patient is in none of the published splits")
                    continue
                self.add(Study(one, patient, values), flags, split or None)

    def _is_incomplete(self, study: str, values: dict[str, Any]) -> bool:
        """Whether the selection wants a triplet and this is none; it is listed then."""
        options = self.archive.options
        lacking = [one for one in (options.front, options.side, options.text) if one not in values]
        if options.select != "study" or not lacking:
            return False
        self.writer.reject(study, f"the study is left without {' and '.join(lacking)}")
        self.counts["studies left incomplete"] += 1
        return True

    def _add_text_and_labels(
        self, name: str, files: StudyFiles, values: dict[str, Any], flags: Counter[str]
    ) -> None:
        options = self.archive.options
        if files.impression is not None:
            values[options.text] = files.impression.text
            values |= options.sections_of(files.impression.kept)
            flags.update(["reports", f"report from {files.impression.section}"])
        if options.labels and any(self.archive.labels.get(name, {}).values()):
            values[options.labels] = self.archive.labels[name]
            flags[options.labels] += 1

    def _split(self, files: StudyFiles) -> str | None:
        """The published split, "" for the one by hash, None for a patient without one."""
        return self.archive.splits.get(files.patient) if self.archive.options.official_split else ""


def prepare_mimic_cxr(
    source_dir: str | Path,
    options: dict[str, Any] | MimicOptions,
    out_dir: str | Path,
    reports_dir: str | Path | None = None,
    **writing: Any,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from a release of MIMIC-CXR below `source_dir`: the
    folder that holds files/ and the csv files. `reports_dir`: the same of the reports, which
    MIMIC-CXR-JPG does not have.

    `writing`: further arguments of `prepare_archive`. Returns counts; prepared.json holds those of
    the selection too. Raises ValueError for csv files that do not have the published columns and
    for a folder without any image in the published layout.
    """
    source, reports = Path(source_dir), Path(reports_dir or source_dir)
    options = build_dataclass(MimicOptions, options, "options")
    shares = {key: writing[key] for key in ("validation", "test") if key in writing}
    if options.official_split and any(share != SHARE for share in shares.values()):
        raise ValueError(
            f"the published split has its own shares: leave out {' and '.join(shares)}"
        )
    if not reports.is_dir():
        raise FileNotFoundError(f"folder of reports {reports} does not exist")
    return prepare_archive(
        source, lambda key: MimicArchive(source, reports, options, key), out_dir, **writing
    )
