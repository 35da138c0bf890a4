"""Source `nih_cxr14`: ChestX-ray14 of the NIH Clinical Center: frontal radiographs with age, sex,
projection (AP, PA) and 14 text-mined findings. Read from the release (Data_Entry_2017*.csv, images
in any folder below) or from a part of it (metadata.csv with the columns of `PART`).

Wang et al., CVPR 2017. The release squashed each film to a square of 1024 x 1024: here it gets its
shape back, from the width and height of the film, and is padded. Identifiers are the public ones.
The labels are noisy, and patients come back: the split is by patient.
"""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from medcodi.config_io import build_dataclass, unknown_key
from medcodi.data.storage import FieldSpec
from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.sources.archive.archive import Assembly
from medcodi.sources.archive.front_and_table import FrontAndTableOptions
from medcodi.sources.archive.hinted import HintedArchive
from medcodi.sources.archive.hints import Hint
from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.prepare import prepare_archive
from medcodi.sources.archive.state import State
from medcodi.sources.archive.walk import walk
from medcodi.sources.findings import FINDINGS, MAX_AGE, finding_cells, public_schema
from medcodi.sources.reading import read_table

RELEASE = {  # of Data_Entry_2017.csv and Data_Entry_2017_v2020.csv -> ours
    "Image Index": "image",
    "Finding Labels": "labels",
    "Patient ID": "patient_id",
    "Patient Age": "age",
    "Patient Gender": "sex",
    "Patient Sex": "sex",
    "View Position": "projection",
    "OriginalImage[Width": "dicom_width",
    "Height]": "dicom_height",
}
PART = ("image", "patient_id", "projection", "sex", "age", "labels", "dicom_width", "dicom_height")
NO_LABEL = "No Finding"
SUFFIXES = (b".png", b".jpg", b".jpeg")


def read_entries(source: Path) -> pd.DataFrame:
    """The columns of PART, texts, one row an image. Raises ValueError for no table, several, one
    without its columns, and an image that is named twice."""
    found = sorted([*source.glob("Data_Entry_2017*.csv"), *source.glob("metadata.csv")])
    if len(found) != 1:
        named = ", ".join(path.name for path in found) or "none"
        raise ValueError(
            f"{source}: expected one table, Data_Entry_2017*.csv of the release or metadata.csv, "
            f"got {named}"
        )
    frame = read_table(found[0]).map(str.strip).rename(columns=RELEASE)
    for column in PART:
        if column not in frame.columns:
            raise unknown_key(column, frame.columns, f"the columns of {found[0]}")
    frame = frame[list(PART)]
    frame["image"] = [Path(name).name for name in frame["image"]]
    twice = frame["image"][frame["image"].duplicated()]
    if len(twice):
        raise ValueError(f"{found[0]} names the image {twice.iloc[0]} more than once")
    return frame


class NihArchive(HintedArchive):
    """`rows`: image -> row of the table."""

    name = "nih_cxr14"
    options: FrontAndTableOptions

    def __init__(self, source: Path, options: FrontAndTableOptions, key: bytes) -> None:
        frame = read_entries(source)
        self.rows = dict(zip(frame["image"], frame.to_dict("records"), strict=True))
        self.digest = hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()
        files, refused = [], []
        for found in walk(source):
            if not found.path.lower().endswith(SUFFIXES) and not found.refused:
                continue  # tables and texts of the release
            row = self.rows.get(Path(found.path.decode("utf-8", "backslashreplace")).name)
            reason = "the table has no row for this image" if row is None else _fault(row)
            if found.refused or reason:
                refused.append(found.refuse(reason))
            else:
                files.append((found, self._hint(row)))
        super().__init__(source, options, key, files, refused)

    def _hint(self, row: dict[str, str]) -> Hint:
        position = row["projection"]
        film = (int(row["dicom_width"]), int(row["dicom_height"]))
        said = f"table: {position}"
        return Hint(row["patient_id"], row["image"], position.upper(), said, film=film)

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} table {self.digest}"

    @property
    def fields(self) -> list[FieldSpec]:
        return self.options.fields()

    @property
    def schemas(self) -> dict[str, TableSchema]:
        return {self.options.table: public_schema()}

    def depends_on(self) -> Any:
        return [self.options.front, self.options.table, self.digest]

    def assembly(self, writer: Any, private: Path, state: State) -> "NihAssembly":
        return NihAssembly(self, writer, private, state)


def _fault(row: dict[str, str]) -> str:
    """Why the row cannot place its image; "" where it can."""
    if not row["patient_id"]:
        return "the patient is blank: the split is unknown"
    if row["projection"].upper() not in ("AP", "PA"):
        return "the projection is neither AP nor PA"
    sides = (row["dicom_width"], row["dicom_height"])
    if not all(side.isdecimal() and 0 < int(side) < 100_000 for side in sides):
        return "the width and height of the film are no whole numbers"
    unknown = set(row["labels"].split("|")) - {NO_LABEL, *FINDINGS}
    return f"unknown labels: {', '.join(sorted(unknown))}" if unknown else ""


class NihAssembly(Assembly):
    archive: NihArchive

    def add_studies(self) -> None:
        options = self.archive.options
        for name, row in self.archive.rows.items():
            files = self.state.files(keyed_hash(self.archive.key, "study", name))
            ((values, flags),) = self.choose(files)
            if not files:
                self.counts["rows without an image that can be used"] += 1
                continue
            study = Path(name).stem
            values[options.table] = self._cells(study, row)
            self.add(Study(study, row["patient_id"], values), flags)

    def _cells(self, study: str, row: dict[str, str]) -> dict[str, Any]:
        present = [label for label in row["labels"].split("|") if label != NO_LABEL]
        sex, age = row["sex"].upper(), row["age"].lstrip("0").removesuffix("Y") or "0"
        cells = {
            "projection": row["projection"].upper(),
            "sex": sex if sex in ("F", "M") else None,
            **finding_cells(present),
        }
        if sex and cells["sex"] is None:
            self.writer.reject(f"{study}/sex", f"expected F or M, got {sex!r}")
        if age.isdecimal() and int(age) <= MAX_AGE:
            return {**cells, "age": int(age)}
        if row["age"]:
            self.writer.reject(f"{study}/age", f"expected 0 to {MAX_AGE} years, got {row['age']!r}")
        return cells


def prepare_nih_cxr14(
    source_dir: str | Path,
    options: dict[str, Any] | FrontAndTableOptions,
    out_dir: str | Path,
    **writing: Any,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from the images and the table below `source_dir`.

    `writing`: further arguments of `prepare_archive`. Returns counts. Raises ValueError for a
    folder without its table.
    """
    source = Path(source_dir)
    options = build_dataclass(FrontAndTableOptions, options, "options")
    if not source.is_dir():
        raise FileNotFoundError(f"source folder {source} does not exist")
    return prepare_archive(source, lambda key: NihArchive(source, options, key), out_dir, **writing)
