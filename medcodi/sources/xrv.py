"""Source `xrv`: a data set class of torchxrayvision (Cohen et al. 2022), images on this machine.

Every row of the class is a study: one image, and a table row with age, sex, projection and the
class's findings (no, yes, empty where it does not know). The class reads the images and brings the
tables that torchxrayvision ships; others are given (`csvpath`).
"""

import contextlib
import hashlib
import inspect
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.config_io import unknown_key
from medcodi.data.storage import FieldSpec, Storage
from medcodi.data.study import Study
from medcodi.data.table import Column, TableSchema
from medcodi.data.user_images import to_greys
from medcodi.data.writer import PreparedWriter
from medcodi.sources.dicom.view import View, view_of_position
from medcodi.sources.findings import MAX_AGE, NO, YES

LATERAL = (View.SIDE, "")  # what the classes call L, without saying which
GREYS = 1024  # the classes give greys in [-1024, 1024]
# arguments that are set here: every row, in its own order, as the file has it
OURS = {"views": ["*"], "unique_patients": False, "transform": None, "data_aug": None}


def dataset_classes() -> dict[str, type]:
    """Name -> class of torchxrayvision that reads a folder of images. RuntimeError without the
    package."""
    try:
        from torchxrayvision import datasets
    except ImportError:
        raise RuntimeError(
            "the source xrv needs torchxrayvision: pip install 'medcodi[eval]'"
        ) from None
    classes = inspect.getmembers(datasets, inspect.isclass)
    return {
        name: cls
        for name, cls in classes
        if issubclass(cls, datasets.Dataset) and "imgpath" in _parameters(cls)
    }


def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(cls.__init__).parameters


def open_dataset(name: str, images: str | Path, arguments: Mapping[str, str]) -> Any:
    """The instance with all its rows, whatever their view or patient.

    `arguments` go to the class: csvpath, metacsvpath, ... FileNotFoundError names a file or folder
    that is missing; ValueError an unknown class or argument, or what the class could not read.
    """
    known = dataset_classes()
    if name not in known:
        raise unknown_key(name, known, "the data sets of torchxrayvision")
    parameters = _parameters(known[name])
    free = [p for p in parameters if p not in ("self", "imgpath", *OURS)]
    for key, value in arguments.items():
        if key not in free:
            raise unknown_key(key, free, f"the arguments of {name}")
        if key.endswith("path") and not Path(value).exists():
            raise FileNotFoundError(f"{key}={value} does not exist")
    if not Path(images).exists():
        raise FileNotFoundError(f"the folder of images {images} does not exist")
    needed = [p for p in free if parameters[p].default is inspect.Parameter.empty]
    missing = [p for p in needed if p not in arguments]
    if missing:
        raise ValueError(f"{name} also needs {', '.join(missing)}: --argument {missing[0]}=FILE")
    ours = {key: value for key, value in OURS.items() if key in parameters}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return known[name](imgpath=str(images), **ours, **arguments)
    except Exception as error:  # the classes raise bare exceptions
        raise ValueError(f"{name} could not read its tables: {error}") from error


def prepare_xrv(
    name: str,
    images: str | Path,
    out_dir: str | Path,
    names: Mapping[View, str],
    table: str,
    arguments: Mapping[str, str] | None = None,
    size: int = 256,
    **writing: Any,
) -> dict[str, Any]:
    """Write the prepared folder `out_dir` from the class `name` with its images in `images`.

    `names`: view -> field, `table`: that of the row; `writing`: further arguments of
    PreparedWriter. Rows without a patient, of another view or whose image cannot be read are listed
    in rejects.csv. Returns counts that add up to the rows. Errors as `open_dataset`.
    """
    dataset = open_dataset(name, images, arguments or {})
    frame, findings = dataset.csv, [str(p) for p in dataset.pathologies]
    fields = [
        *(FieldSpec(n, Storage.IMAGE) for n in names.values()),
        FieldSpec(table, Storage.TABLE),
    ]
    counts = {"rows": len(dataset), "studies": 0, "refused": 0}
    with PreparedWriter(out_dir, fields, _schema(findings), **writing) as writer:
        writer.notes = {"source": "xrv", "dataset": name, "size": size}
        for index in range(len(dataset)):
            row = frame.iloc[index].to_dict()
            study = _study_id(name, row)
            try:
                patient, field, projection = _place(row, names)
                image = _image(dataset, index, size)
            except ValueError as error:
                writer.reject(study, str(error))
                counts["refused"] += 1
                continue
            cells = {"projection": projection, **_person(row, study, writer)}
            cells |= _findings(findings, dataset.labels[index])
            added = writer.add(Study(study, patient, {field: image, table: cells}))
            counts["studies" if added else "refused"] += 1
    return {**counts, "rejects": writer.num_rejects}


def _schema(findings: list[str]) -> TableSchema:
    return TableSchema(
        [
            Column("age", "integer", unit="years"),
            Column("sex", "categorical", ["F", "M"]),
            Column("projection", "categorical", ["AP", "PA", "LL", "RL"]),
            *(Column(name, "categorical", [NO, YES]) for name in findings),
        ]
    )


def _study_id(name: str, row: Mapping[str, Any]) -> str:
    """Of the row's content: the same in a part of the table and in another order."""
    told = json.dumps({str(k): str(v) for k, v in row.items() if k != "index"}, sort_keys=True)
    return hashlib.sha256(f"{name} {told}".encode()).hexdigest()[:20]


def _place(row: Mapping[str, Any], names: Mapping[View, str]) -> tuple[str, str, str | None]:
    """(patient, field, projection) of a row. ValueError where the class does not tell."""
    patient = row.get("patientid")
    if patient is None or patient != patient or str(patient) in ("", "nan"):
        raise ValueError("the patient is not known: the split is unknown")
    seen = LATERAL if row.get("view") == "L" else view_of_position(row.get("view"))
    if seen is None or seen[0] not in names:
        raise ValueError(f"the view is neither frontal nor lateral: {row.get('view')!r}")
    return str(patient), names[seen[0]], seen[1] or None


def _image(dataset: Any, index: int, size: int) -> np.ndarray:
    """Float32 (size, size) in [0, 1]. ValueError for an image that the class cannot read."""
    try:
        greys = np.asarray(dataset[index]["img"], np.float32)
    except Exception as error:  # whatever its image library raises
        raise ValueError(f"the image cannot be read: {type(error).__name__}: {error}") from None
    return to_greys(np.clip(greys[0] / GREYS / 2 + 0.5, 0, 1), size)


def _person(row: Mapping[str, Any], study: str, writer: PreparedWriter) -> dict[str, Any]:
    told = tuple(bool(row.get(key, False)) for key in ("sex_male", "sex_female"))
    sex = {(True, False): "M", (False, True): "F"}.get(told)
    cells: dict[str, Any] = {"sex": sex, "age": None}
    age = row.get("age_years")
    if age is not None and age == age:
        if 0 <= float(age) <= MAX_AGE:
            cells["age"] = int(age)
        else:
            writer.reject(f"{study}/age", f"expected 0 to {MAX_AGE} years, got {age}")
    return cells


def _findings(names: list[str], labels: np.ndarray) -> dict[str, str | None]:
    return {
        name: {0.0: NO, 1.0: YES}.get(float(label))
        for name, label in zip(names, labels, strict=True)
    }
