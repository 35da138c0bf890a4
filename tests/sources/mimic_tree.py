"""A miniature of the published MIMIC-CXR folders, made of phantom studies. No patient stands behind
them."""

import csv
import gzip
from pathlib import Path

import numpy as np
from PIL import Image

from medcodi.phantom import make_study
from tests.sources.dicom_files import image, save

SIZE = 24
REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  A phantom.

 FINDINGS:

 Lungs: as rendered.

 IMPRESSION:

 {text}
"""
# patient, study, views of its images, form of its report, published split
STUDIES = [
    (10000001, 50000001, ("PA", "LATERAL"), REPORT, "train"),
    (10000001, 50000002, ("AP",), REPORT, "train"),
    (
        10000002,
        50000003,
        ("AP", "LL", "PA"),
        REPORT.replace("IMPRESSION", "CONCLUSION"),
        "validate",
    ),
    (10000003, 50000004, ("PA", "LL"), None, "test"),
    (10000003, 50000005, ("PA", ""), REPORT, "test"),
    (10000004, 50000006, ("", "LL"), "  FINAL REPORT\n HISTORY: none.\n\n {text}\n", "test"),
    (10000005, 50000007, ("PA", "LL"), " FINDINGS: {text}\n", "train"),
]


def text(study: int) -> str:
    """The impression of a study, in one line."""
    return " ".join(
        make_study(0, study % 100, SIZE).truth
        and f"Study {study} of the phantom. No oedema.".split()
    )


def dicom_id(study: int, number: int) -> str:
    return f"{study:08x}-{number:08x}"


def pixels(study: int, view: str, bits: int) -> np.ndarray:
    """(SIZE, SIZE) of `bits` bits."""
    part = "lateral" if view in ("LL", "LATERAL") else "frontal"
    values = make_study(0, 100 + study % 100, SIZE).values
    return np.round(values.get(part, values["frontal"]) * (2**bits - 1)).astype(np.uint16)


def folder(patient: int, study: int) -> str:
    return f"files/p{str(patient)[:2]}/p{patient}/s{study}"


def write_tree(root: Path, jpg: bool = False, metadata: bool = True) -> Path:
    """The DICOM release with its reports, or the JPG release (its reports too, in `root`_reports)
    with all csv files."""
    rows, reports = [], root.with_name(f"{root.name}_reports") if jpg else root
    for patient, study, views, form, split in STUDIES:
        for number, view in enumerate(views):
            name = dicom_id(study, number)
            path = root / folder(patient, study) / f"{name}.{'jpg' if jpg else 'dcm'}"
            code = {"PA": "postero-anterior", "": "antero-posterior"}.get(view, "lateral")
            rows.append([name, patient, study, view, code, split])
            path.parent.mkdir(parents=True, exist_ok=True)
            if jpg:
                Image.fromarray(pixels(study, view, 8).astype(np.uint8)).save(path, quality=95)
            else:
                own = image(
                    pixels(study, view, 12),
                    "another",
                    "another",
                    ViewPosition=view,
                    InstanceNumber=number,
                )
                save(own, path)
        if form is not None:
            path = reports / f"{folder(patient, study)}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                form.format(text="\n ".join(text(study).split(". "))).replace(
                    "phantom\n", "phantom.\n"
                )
            )
    if metadata:
        _write_csv(
            root,
            "metadata",
            ["dicom_id", "subject_id", "study_id", "ViewPosition", "ViewCodeSequence_CodeMeaning"],
            [row[:5] for row in rows],
        )
        _write_csv(
            root,
            "split",
            ["dicom_id", "study_id", "subject_id", "split"],
            [[r[0], r[2], r[1], r[5]] for r in rows],
        )
        labels = [[p, s, "1.0", "-1.0" if s % 2 else "", "0.0"] for p, s, *_ in STUDIES]
        _write_csv(
            root,
            "chexpert",
            ["subject_id", "study_id", "Edema", "Pleural Effusion", "Pneumonia"],
            labels,
        )
    return reports


def _write_csv(root: Path, what: str, head: list[str], rows: list[list]) -> None:
    with gzip.open(root / f"mimic-cxr-2.0.0-{what}.csv.gz", "wt", newline="") as file:
        csv.writer(file).writerows([head, *rows])
