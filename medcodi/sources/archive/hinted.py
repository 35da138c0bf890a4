"""Archives whose tables and folders say who a file is of, which study and which view."""

from collections.abc import Iterator
from pathlib import Path

from medcodi.sources.archive.archive import Archive
from medcodi.sources.archive.hints import Hint, HintedJob, read_hinted
from medcodi.sources.archive.options import DicomOptions
from medcodi.sources.archive.walk import Found


class HintedArchive(Archive):
    """`files`: directory entries with their hints; `refused`: entries that are listed without being
    opened."""

    task = staticmethod(read_hinted)

    def __init__(
        self,
        source: Path,
        options: DicomOptions,
        key: bytes,
        files: list[tuple[Found, Hint]],
        refused: list[Found],
    ) -> None:
        super().__init__(source, options, key)
        self.files, self.refused = files, refused

    def entries(self) -> Iterator[Found]:
        return iter([*(found for found, _ in self.files), *self.refused])

    def job(self, aspect: float) -> HintedJob:
        hints = {found.path: hint for found, hint in self.files}
        return HintedJob(
            str(self.source.resolve()), self.options.for_workers(), self.key, aspect, hints
        )
