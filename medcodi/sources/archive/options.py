"""Options of the DICOM source, and what a worker tells of one file."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medcodi.config_io import unknown_key
from medcodi.data.greys import GreyLimits
from medcodi.data.sections import KEPT, SECTIONS

MODALITIES = [
    "CR",
    "DX",
    "RG",
    "OT",
]  # computed, digital, conventional radiography; OT: secondary captures
RETRY = "retry"
VERSION = 3  # of what a finished file holds; another one reads every file again
BODY_PARTS = ["CHEST", "THORAX", "LUNG"]
VIEW_NAMES = ("AP", "PA", "FRONT", "LL", "RL", "SIDE", "OTHER")
MULTIPLE = ("first", "all")
LOOKS = ("stored", "min_max", "equalised")
SUSPECTS = ("accept", "flag", "refuse", "ignore_window")


class RejectedError(ValueError):
    """A file that cannot be used. `reason` holds no value of the file's text attributes and may
    stand in the prepared folder; `detail` (what a library said) and `said` (the text about its
    view) are kept in the private folder only. `view`: what it was taken for."""

    def __init__(self, reason: str, detail: object = "", said: str = "", view: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, " ".join(str(detail).split())[:500]
        self.said, self.view = said, view

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail, self.said, self.view)


@dataclass
class DicomOptions:
    """What to take from the tree, and under which names.

    `front`, `side`, `text`: names of the fields for frontal images, lateral images and reports.
    `size`: pixels of a side of the prepared images. `window`: apply the VOI LUT or the first window
    where present. `look`: "stored" (what the header says), "min_max" (from the smallest to the
    largest value of the image) or "equalised" (this, then histogram equalisation, as MIMIC-CXR-JPG
    has it); the last two leave out the window. `suspects`: what becomes of an image outside of
    `grey_limits`: "accept", "flag" (used and listed; refused where it has one grey only), "refuse",
    or "ignore_window" (without the window, else with the range of its own values, where that helps;
    else as "flag"). `modalities`: values of Modality that are read; `body_parts`: values of
    BodyPartExamined that are read, a blank one is (both: an empty list takes all). `views`: texts
    of the header that decide a view, as they stand in the table of views -> one of VIEW_NAMES.
    `multiple`: of several images of one view the "first" by rank is taken, or "all": each further
    one makes a further study, with the same report. `header`: name of a table field for projection
    (AP, PA), sex and age of the header, "" for none. `sections`: concept names of a structured
    report whose texts are taken (none: all). `text_sections`: sections that may stand for a report,
    in this order (data/sections.py; none: the whole text); "both" is findings and impression,
    joined. `keep_sections`: these two as fields of their own too, TEXT_findings and
    TEXT_impression, so that a recipe chooses by the name of its modality. Limits: `max_file_mib`,
    `max_megapixels` (Rows x Columns, checked before decoding), `max_memory_gib` of one worker
    beyond its start, `timeout` in seconds for one file.
    """

    front: str
    side: str
    text: str
    size: int = 256
    window: bool = True
    look: str = "stored"
    suspects: str = "flag"
    grey_limits: GreyLimits = field(default_factory=GreyLimits)
    modalities: list[str] = field(default_factory=lambda: list(MODALITIES))
    body_parts: list[str] = field(default_factory=lambda: list(BODY_PARTS))
    views: dict[str, str] = field(default_factory=dict)
    multiple: str = "first"
    header: str = ""
    sections: list[str] = field(default_factory=list)
    text_sections: list[str] = field(default_factory=list)
    keep_sections: bool = False
    max_file_mib: int = 512
    max_megapixels: float = 64.0
    max_memory_gib: float = 4.0
    timeout: float = 120.0

    def __post_init__(self) -> None:
        for name in ("size", "max_file_mib", "max_megapixels", "max_memory_gib", "timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"options.{name} must be above 0, got {getattr(self, name)}")
        if self.size > 4096:
            raise ValueError(f"options.size must be at most 4096, got {self.size}")
        named = [self.front, self.side, self.text, *([self.header] if self.header else [])]
        named += self.section_fields.values()
        if len(set(named)) < len(named):
            raise ValueError(f"the fields need distinct names, got {', '.join(map(repr, named))}")
        for name, valid in (("look", LOOKS), ("suspects", SUSPECTS), ("multiple", MULTIPLE)):
            _check_one_of(f"options.{name}", getattr(self, name), valid)
        self.views = {_plain(text): view.strip().upper() for text, view in self.views.items()}
        for text, view in self.views.items():
            _check_one_of(f"options.views[{text!r}]", view, VIEW_NAMES)
        for name in ("modalities", "body_parts", "sections"):
            setattr(self, name, [value.strip().upper() for value in getattr(self, name)])
        for section in self.text_sections:
            if section not in SECTIONS:
                raise unknown_key(section, SECTIONS, "options.text_sections")

    @property
    def section_fields(self) -> dict[str, str]:
        """Section that is kept -> its field."""
        return {kind: f"{self.text}_{kind}" for kind in KEPT} if self.keep_sections else {}

    def sections_of(self, kept: Mapping[str, str]) -> dict[str, str]:
        """Values of the fields of the sections, of `ReportText.kept`."""
        fields = self.section_fields
        return {fields[kind]: text for kind, text in kept.items() if kind in fields}

    def for_workers(self) -> "DicomOptions":
        """Without what a subclass adds: its module, and all that it imports, stays out of the
        workers."""
        return DicomOptions(
            **{one.name: getattr(self, one.name) for one in dataclasses.fields(DicomOptions)}
        )

    def fingerprint(self) -> str:
        """What a finished file depends on (names of fields do not change it)."""
        names = (
            "size",
            "window",
            "look",
            "suspects",
            "modalities",
            "body_parts",
            "views",
            "sections",
            "max_file_mib",
            "max_megapixels",
        )
        limits = dataclasses.asdict(self.grey_limits)
        values = {name: getattr(self, name) for name in names}
        return json.dumps({"version": VERSION, **values, "grey_limits": limits})


@dataclass
class Record:
    """What one file gives. kind "picture" (`png`, `view`, `rank`), "words" (`text`) or "rejected"
    (`reason`).

    `study`, `patient`, `instance` are keyed hashes. `projection`: AP, PA, LL, RL or "" of a
    picture; `said`: the text that says its view (also of one that is rejected after it was looked
    at); `person`: sex and age of the header. `spacing` is [row, column] in mm, None when unknown.
    `flags` count in the notes of the prepared folder. `greys`: figures of a picture
    (data/greys.py); `suspect`: why it is one; `mark`: its fingerprint (data/duplicates.py), in
    hexadecimal digits.
    """

    kind: str
    study: str = ""
    patient: str = ""
    instance: str = ""
    view: str = ""
    projection: str = ""
    said: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    rank: list[float | str] = field(default_factory=list)
    spacing: list[float] | None = None
    flags: list[str] = field(default_factory=list)
    greys: dict[str, Any] = field(default_factory=dict)
    suspect: list[str] = field(default_factory=list)
    mark: str = ""
    text: str = ""
    reason: str = ""
    detail: str = ""
    png: bytes = b""

    def to_json(self) -> str:
        """Everything but the image."""
        return json.dumps(
            {name: value for name, value in dataclasses.asdict(self).items() if name != "png"}
        )

    @classmethod
    def from_json(cls, text: str, png: bytes) -> "Record":
        return cls(**json.loads(text), png=png)

    @classmethod
    def rejected(cls, reason: str, detail: object = "", retry: bool = False) -> "Record":
        """`retry`: the reason may lie in the machine, so that the next run reads the file again."""
        return cls.of_error(RejectedError(reason, detail), [RETRY] if retry else [])

    @classmethod
    def of_error(cls, error: RejectedError, flags: list[str] | None = None) -> "Record":
        told = {name: getattr(error, name) for name in ("reason", "detail", "said", "view")}
        return cls("rejected", flags=flags or [], **told)


def _plain(text: str) -> str:
    return " ".join(text.upper().replace("_", " ").split())


def _check_one_of(what: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ValueError(f"{what} must be one of {', '.join(valid)}, got {value!r}")
