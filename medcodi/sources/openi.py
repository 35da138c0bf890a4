"""Source `openi`: the Indiana University chest X-ray collection (Open-i). Its 3,955 reports and the
table of its image headers come inside the installed torchxrayvision; the images are taken from a
folder when there is one (PNG, or the DICOM files).

Demner-Fushman et al., doi 10.1093/jamia/ocv080; the texts are CC BY-NC-ND 4.0. The identifiers are
the public ones (CXR1 ...), one patient a report, so that tables of labels can be joined.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcodi.config_io import build_dataclass, unknown_key
from medcodi.data.storage import FieldSpec, Storage
from medcodi.data.study import Study
from medcodi.data.table import Column, TableSchema
from medcodi.data.writer import PreparedWriter
from medcodi.sources.archive.archive import Assembly, numbered
from medcodi.sources.archive.hinted import HintedArchive
from medcodi.sources.archive.hints import Hint
from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.options import DicomOptions
from medcodi.sources.archive.prepare import prepare_archive
from medcodi.sources.archive.state import State
from medcodi.sources.archive.walk import Found, walk
from medcodi.sources.dicom.view import View
from medcodi.sources.findings import finding_columns
from medcodi.sources.openi_files import (
    REPORTS,
    TEXTS,
    OpeniReport,
    installed_data,
    read_gold,
    read_reports,
    read_views,
)

SUFFIXES = (b".png", b".dcm", b".jpg", b".jpeg")
MENTIONS = ["absent", "present"]
NO_VIEW = "the view is unknown: neither View Position nor Patient Orientation say it"


@dataclass
class OpeniOptions(DicomOptions):
    """`texts`: impression, findings or both (in this order, as one text). `mesh`: name of a table
    field for the MeSH terms, "" for none: one column, absent or present, for each main term that
    `min_reports` reports have. `derived_views`: where the headers do not say the view, take the one
    that torchxrayvision's table derives from the pixels. `findings`: name of a table field for gold
    findings (`gold_file` of `prepare_openi`), no or yes each, "" for none."""

    texts: str = "impression"
    mesh: str = ""
    min_reports: int = 40
    derived_views: bool = False
    findings: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_sections:
            raise ValueError("options.text_sections: the source openi takes options.texts instead")
        if self.texts not in TEXTS:
            raise unknown_key(self.texts, TEXTS, "options.texts")
        if self.min_reports != OpeniOptions.min_reports and not self.mesh:
            raise ValueError(
                "options.min_reports belongs to the table of MeSH terms: name it, mesh"
            )
        for what, name in (("MeSH terms", self.mesh), ("findings", self.findings)):
            others = {self.mesh, self.findings} - {name, ""} | {self.front, self.side, self.text}
            if name in others or (name and self.mesh == self.findings):
                raise ValueError(f"the {what} need a name of their own, got {name!r}")


class OpeniArchive(HintedArchive):
    """`images`: folder of the image files, None for the texts alone."""

    name = "openi"
    options: OpeniOptions

    def __init__(
        self,
        data: Path,
        images: Path | None,
        options: OpeniOptions,
        key: bytes,
        gold: dict[str, dict[str, str]] | None = None,
    ) -> None:
        self.gold = gold or {}
        self.reports, self.unread = read_reports(data / REPORTS)
        self.with_images = images is not None
        files, refused = (
            self._find(images, read_views(data, options.derived_views)) if images else ([], [])
        )
        super().__init__(images or data, options, key, files, refused)
        counts = Counter(term for report in self.reports.values() for term in report.terms)
        self.terms = sorted(
            term for term, number in counts.items() if number >= options.min_reports
        )

    def _find(
        self, folder: Path, views: dict[str, str]
    ) -> tuple[list[tuple[Found, Hint]], list[Found]]:
        """(images with their report and view, entries that no report names or whose view nothing
        says)."""
        owners = {name: uid for uid, report in self.reports.items() for name in report.images}
        files, refused = [], []
        for found in walk(folder):
            stem = Path(found.path.decode("utf-8", "backslashreplace")).stem
            name = (
                stem if stem.startswith("CXR") else f"CXR{stem}"
            )  # the DICOM files lack the letters
            if found.refused or not found.path.lower().endswith(SUFFIXES):
                refused.append(found.refuse("not an image of the collection, by its name"))
            elif name not in owners:
                refused.append(found.refuse("no report names this image"))
            elif name not in views and not found.path.lower().endswith(b".dcm"):
                refused.append(found.refuse(NO_VIEW))
            else:
                view = views.get(name, "")
                said = f"tables of the collection: {view}" if view else ""
                files.append((found, Hint(owners[name], owners[name], view, said)))
        return files, refused

    def other_views(self) -> list[tuple[str, str, str, int]]:
        number = sum(found.refused == NO_VIEW for found in self.refused)
        return [("tables of the collection: blank", View.UNKNOWN.value, "", number)][: number > 0]

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} derived {self.options.derived_views}"

    @property
    def fields(self) -> list[FieldSpec]:
        names = [self.options.text, *self.options.section_fields.values()]
        texts = [FieldSpec(name, Storage.TEXT) for name in names]
        own = super().fields if self.with_images else texts
        tables = [name for name in (self.options.mesh, self.options.findings) if name]
        return [*own, *(FieldSpec(name, Storage.TABLE) for name in tables)]

    @property
    def schemas(self) -> dict[str, TableSchema]:
        columns = [Column(term, "categorical", list(MENTIONS)) for term in self.terms]
        own = super().schemas if self.with_images else {}
        of_mesh = {self.options.mesh: TableSchema(columns)} if self.options.mesh else {}
        gold = {self.options.findings: TableSchema(finding_columns())}
        return {**own, **of_mesh, **(gold if self.options.findings else {})}

    def depends_on(self) -> Any:
        texts = [
            (uid, report.text(self.options.texts).text, report.terms, *self._kept(report))
            for uid, report in self.reports.items()
        ]
        digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        return [
            super().depends_on(),
            self.options.texts,
            self.options.mesh,
            self.options.min_reports,
            self.options.findings,
            sorted(map(repr, self.gold.items())),
            digest,
        ]

    def _kept(self, report: OpeniReport) -> list[dict[str, str]]:
        return [report.report.kept] if self.options.keep_sections else []

    def assembly(self, writer: PreparedWriter, private: Path, state: State) -> "OpeniAssembly":
        return OpeniAssembly(self, writer, private, state)


class OpeniAssembly(Assembly):
    archive: OpeniArchive

    def add_studies(self) -> None:
        options = self.archive.options
        for reason in self.archive.unread:
            self.writer.reject(REPORTS, reason)
        for uid, report in self.archive.reports.items():
            files = self.state.files(keyed_hash(self.archive.key, "study", uid))
            text = report.text(options.texts)
            self.counts.update(text.notes)
            for number, (values, flags) in enumerate(self.choose(files), start=1):
                if text.text:
                    values[options.text] = text.text
                values |= options.sections_of(text.kept)
                if text.text and number == 1:
                    flags.update(["reports", f"report from {text.section}"])
                if options.mesh and report.terms:
                    values[options.mesh] = {
                        term: MENTIONS[term in report.terms] for term in self.archive.terms
                    }
                    flags["MeSH rows"] += number == 1
                if options.findings and uid in self.archive.gold:
                    values[options.findings] = self.archive.gold[uid]
                    flags["gold rows"] += number == 1
                self.add(Study(numbered(uid, number), uid, values), flags)


def prepare_openi(
    images_dir: str | Path | None,
    options: dict[str, Any] | OpeniOptions,
    out_dir: str | Path,
    data_dir: str | Path | None = None,
    gold_file: str | Path | None = None,
    **writing: Any,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from the reports and, where `images_dir` is given, the
    images below it.

    `data_dir`: folder with the .tgz of the reports and the tables of views (default: the one of
    torchxrayvision). `gold_file`: csv of gold findings (`read_gold`). `writing`: further arguments
    of `prepare_archive`. Returns counts.
    """
    images, data = (
        Path(images_dir) if images_dir else None,
        Path(data_dir) if data_dir else installed_data(),
    )
    options = build_dataclass(OpeniOptions, options, "options")
    if not (data / REPORTS).is_file():
        raise FileNotFoundError(f"{data / REPORTS} does not exist: the reports of the collection")
    if images is not None and not images.is_dir():
        raise FileNotFoundError(f"source folder {images} does not exist")
    if (gold_file is None) != (not options.findings):
        raise ValueError("gold findings need both the file and the name of their table")
    gold = read_gold(Path(gold_file)) if gold_file is not None else None
    return prepare_archive(
        images or data,
        lambda key: OpeniArchive(data, images, options, key, gold),
        out_dir,
        **writing,
    )
