"""Options of collections with one frontal image and one row of a table a study."""

from dataclasses import dataclass

from medcodi.data.storage import FieldSpec, Storage
from medcodi.sources.archive.options import DicomOptions


@dataclass
class FrontAndTableOptions(DicomOptions):
    """`table`: name of the table field."""

    side: str = "(other view)"  # not written: there are no lateral images and no texts
    text: str = "(text)"
    table: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.table in ("", self.front, self.side, self.text):
            raise ValueError(f"the table needs a name of its own, got {self.table!r}")

    def fields(self) -> list[FieldSpec]:
        return [FieldSpec(self.front, Storage.IMAGE), FieldSpec(self.table, Storage.TABLE)]
