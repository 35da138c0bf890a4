"""Sex and age that a header states, as cells of a table."""

from datetime import UTC, datetime
from typing import Any

import pydicom

SEXES, PROJECTIONS = ("F", "M"), ("AP", "PA")
OLDEST = 90  # years; an age above 89 may identify a person and counts as 90
MAX_AGE = 130
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def find_person(ds: pydicom.Dataset) -> dict[str, Any]:
    """{"sex": F or M, "age": whole years, at most 90}, each only where the header says it: age from
    PatientAge (PS3.5: 034Y, 006M), else from PatientBirthDate to StudyDate."""
    found: dict[str, Any] = {}
    sex = str(ds.get("PatientSex") or "").strip().upper()
    if sex in SEXES:
        found["sex"] = sex
    age = _stated(str(ds.get("PatientAge") or "").strip().upper())
    if age is None:
        age = _between(str(ds.get("PatientBirthDate") or ""), str(ds.get("StudyDate") or ""))
    if age is not None and 0 <= age <= MAX_AGE:
        found["age"] = min(int(age), OLDEST)
    return found


def _stated(text: str) -> float | None:
    if len(text) < 2 or text[-1] not in YEARS or not text[:-1].isdecimal():
        return None
    return int(text[:-1]) * YEARS[text[-1]]


def _between(birth: str, study: str) -> float | None:
    try:
        first, last = (
            datetime.strptime(one.strip(), "%Y%m%d").replace(tzinfo=UTC) for one in (birth, study)
        )
    except ValueError:
        return None
    return last.year - first.year - ((last.month, last.day) < (first.month, first.day))
