"""Archives whose tables and folders say who a file is of, which study and which view."""

from collections.abc import Iterator
from pathlib import Path

from medcodi.data.sources.dicom.archive import Archive
from medcodi.data.sources.dicom.hints import Hint, HintedJob, read_hinted
from medcodi.data.sources.dicom.options import DicomOptions
from medcodi.data.sources.dicom.walk import Found


class HintedArchive(Archive):
    """`files`: directory entries with their hints; `refused`: entries that are listed without being opened."""

    task = staticmethod(read_hinted)

    def __init__(
        self, source: Path, options: DicomOptions, key: bytes, files: list[tuple[Found, Hint]], refused: list[Found]
    ) -> None:
        super().__init__(source, options, key)
        self.files, self.refused = files, refused

    def entries(self) -> Iterator[Found]:
        return iter([*(found for found, _ in self.files), *self.refused])

    def job(self, aspect: float) -> HintedJob:
        hints = {found.path: hint for found, hint in self.files}
        return HintedJob(str(self.source.resolve()), self.options.for_workers(), self.key, aspect, hints)
