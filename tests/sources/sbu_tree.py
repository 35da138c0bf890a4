"""A miniature of the TCIA tree of COVID-19-NY-SBU, made of ramps and invented rows. No patient
stands behind it."""

import csv
from pathlib import Path

import numpy as np

from medcodi.sources.stony_brook import PATIENT
from medcodi.sources.stony_brook_columns import paper_columns
from tests.sources.dicom_files import image, ramp, save

CASES = 12
EXTRA = {"covid19_statuses": "positive", "kidney_transplant": "", "htn_v": "Yes"}


def row(number: int) -> dict[str, str]:
    values = [
        "discharged" if number % 3 else "deceased",
        ["[18,59]", "(59, 74]", "(74,90]"][number % 3],
        ["MALE", "FEMALE", "NA"][number % 3],
        ["Inpatient Visit", "Emergency Room Visit"][number % 2],
        "TRUE" if number % 2 else "FALSE",
        "No",
        "Yes" if number % 4 else "No",
        str(number),
        f"{36 + number / 10}",
        "" if number == 5 else "93",
        "20",
        "high" if number == 6 else str(60 + number),
        "120",
    ]
    names = [column.column for column in paper_columns()]
    return {PATIENT: f"A{number:06d}", **dict(zip(names, values, strict=True)), **EXTRA}


def film(number: int) -> np.ndarray:
    """A picture of its own, below a first row that all have."""
    pixels = np.random.default_rng(number).integers(0, 4096, ramp().shape).astype(np.uint16)
    pixels[0] = ramp()[0]
    return pixels


def write_tree(root: Path) -> Path:
    for number in range(CASES - 1):  # the last case has no image
        patient = f"A{number:06d}"
        later = image(
            film(CASES + number)[::-1].copy(),
            f"{number} later",
            patient,
            StudyDate="19010203",
            AcquisitionTime="0900",
        )
        first = image(
            film(number),
            f"{number} first",
            patient,
            StudyDate="19010101",
            AcquisitionTime="1200",
            Modality="CR",
            ViewPosition="AP",
            BodyPartExamined="PORT CHEST",
            SeriesNumber=9,
        )
        save(later, root / patient / "a" / "1-1.dcm")
        save(first, root / patient / "b" / "1-1.dcm")
    save(
        image(ramp(), "side", "A000000", ViewPosition="LL", StudyDate="19000101"),
        root / "A000000" / "c" / "1-1.dcm",
    )
    save(
        image(ramp(), "only", f"A{CASES - 1:06d}", ViewPosition="LL"),
        root / f"A{CASES - 1:06d}" / "1-1.dcm",
    )
    save(image(ramp(), "who", "A999999"), root / "A999999" / "1-1.dcm")
    save(image(ramp(), "ct", "A000001", Modality="CT"), root / "A000001" / "d" / "1-1.dcm")
    with open(root / "clinical.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(row(0)))
        writer.writeheader()
        writer.writerows(row(number) for number in range(CASES))
    (root / "metadata.csv").write_text("Series UID,Collection\n1,COVID-19-NY-SBU\n")
    return root
