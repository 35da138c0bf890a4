"""Options of the DICOM source, and what a worker tells of one file."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

MODALITIES = [
    "CR",
    "DX",
    "RG",
    "OT",
]  # computed, digital, conventional radiography; OT: secondary captures
RETRY = "retry"
VERSION = 2  # of what a finished file holds; another one reads every file again
BODY_PARTS = ["CHEST", "THORAX", "LUNG"]


class RejectedError(ValueError):
    """A file that cannot be used. `reason` holds no value of the file's text attributes and may
    stand in the prepared folder; `detail` (what a library said) is kept in the private folder only.
    """

    def __init__(self, reason: str, detail: object = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, " ".join(str(detail).split())[:500]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.detail)


@dataclass
class DicomOptions:
    """What to take from the tree, and under which names.

    `front`, `side`, `text`: names of the fields for frontal images, lateral images and reports.
    `size`: pixels of a side
    of the prepared images. `window`: apply the VOI LUT or the first window where present.
    `modalities`: values of Modality that are read; `body_parts`: values of BodyPartExamined that
    are read, a blank one is (both: an empty list
    takes all). `sections`: concept names of a structured report whose texts are taken (none: all).
    Limits: `max_file_mib`, `max_megapixels` (Rows x Columns, checked before decoding),
    `max_memory_gib` of one worker beyond its start, `timeout` in seconds for one file.
    """

    front: str
    side: str
    text: str
    size: int = 256
    window: bool = True
    modalities: list[str] = field(default_factory=lambda: list(MODALITIES))
    body_parts: list[str] = field(default_factory=lambda: list(BODY_PARTS))
    sections: list[str] = field(default_factory=list)
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
        if len({self.front, self.side, self.text}) < 3:
            raise ValueError(
                f"the three fields need distinct names, got {self.front!r}, {self.side!r}, "
                f"{self.text!r}"
            )
        for name in ("modalities", "body_parts", "sections"):
            setattr(self, name, [value.strip().upper() for value in getattr(self, name)])

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
            "modalities",
            "body_parts",
            "sections",
            "max_file_mib",
            "max_megapixels",
        )
        return json.dumps({"version": VERSION, **{name: getattr(self, name) for name in names}})


@dataclass
class Record:
    """What one file gives. kind "picture" (`png`, `view`, `rank`), "words" (`text`) or "rejected"
    (`reason`).

    `study`, `patient`, `instance` are keyed hashes. `spacing` is [row, column] in mm, None when
    unknown. `flags` count in the notes of the prepared folder.
    """

    kind: str
    study: str = ""
    patient: str = ""
    instance: str = ""
    view: str = ""
    rank: list[float | str] = field(default_factory=list)
    spacing: list[float] | None = None
    flags: list[str] = field(default_factory=list)
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
        error = RejectedError(reason, detail)
        return cls(
            "rejected", reason=error.reason, detail=error.detail, flags=[RETRY] if retry else []
        )
