"""Who a file belongs to, without saying who: keyed hashes of identifiers, and texts without the
patient's identity."""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

import pydicom

VARIABLE = "MEDCODI_PATIENT_KEY"
MIN_KEY_CHARACTERS = 16
BLANK = "___"
# Attributes whose values must not stand in a text (a part of PS3.15, table E.1-1: who, not what)
NAMES = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ReferringPhysicianName",
    "RequestingPhysician",
    "PhysiciansOfRecord",
    "PerformingPhysicianName",
    "OperatorsName",
    "NameOfPhysiciansReadingStudy",
    "VerifyingObserverName",
    "InstitutionName",
)
NUMBERS = (
    "PatientID",
    "OtherPatientIDs",
    "AccessionNumber",
    "StudyID",
    "PatientTelephoneNumbers",
    "PatientAddress",
)
DATES = ("PatientBirthDate",)


def load_key(file: str | os.PathLike[str] | None, private: Path) -> bytes:
    """The key of the hashes: of `file`, else of the environment variable MEDCODI_PATIENT_KEY, else
    of `private`/key, which is made (32 random bytes, readable by its owner only) when it is not
    there.

    Raises ValueError for a key under 16 characters, FileNotFoundError for a `file` that does not
    exist.
    """
    if file is not None:
        if not Path(file).is_file():
            raise FileNotFoundError(f"key file {file} does not exist")
        return _checked(Path(file).read_text(encoding="utf-8"), str(file))
    if os.environ.get(VARIABLE):
        return _checked(os.environ[VARIABLE], VARIABLE)
    path = private / "key"
    if not path.is_file():
        private.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_hex(32) + "\n")
    return _checked(path.read_text(encoding="utf-8"), str(path))


def _checked(text: str, where: str) -> bytes:
    if len(text.strip()) < MIN_KEY_CHARACTERS:
        raise ValueError(
            f"the key of {where} has {len(text.strip())} characters, expected at least "
            f"{MIN_KEY_CHARACTERS}"
        )
    return text.strip().encode()


def keyed_hash(key: bytes, purpose: str, value: str | bytes) -> str:
    """HMAC-SHA-256 of `value`, 32 hexadecimal characters; equal values of different purposes do not
    meet."""
    value = value.encode("utf-8", "backslashreplace") if isinstance(value, str) else value
    return hmac.new(key, purpose.encode() + b"\0" + value, hashlib.sha256).hexdigest()[:32]


def without_identity(text: str, ds: pydicom.Dataset) -> tuple[str, int]:
    """`text` with the names, numbers and birth dates that stand in the attributes of `ds` replaced
    by ___, and how often.

    It finds what the file itself says about the patient and the staff, as whole words of three
    letters or more; it is no de-identification of free text.
    """
    words: set[str] = set()
    for keyword in NAMES:
        words |= {word for value in _values(ds, keyword) for word in re.split(r"[\^=,\s]+", value)}
    for keyword in NUMBERS:
        words |= set(_values(ds, keyword))
    for keyword in DATES:
        words |= {form for value in _values(ds, keyword) for form in _date_forms(value)}
    words = {word for word in words if len(word) >= 3}
    if not words:
        return text, 0
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.subn(rf"(?<!\w)(?:{longest_first})(?!\w)", BLANK, text, flags=re.IGNORECASE)


def _values(ds: pydicom.Dataset, keyword: str) -> list[str]:
    value = ds.get(keyword)
    if value is None or isinstance(value, pydicom.Sequence):
        return []
    several = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    return [str(one).strip() for one in several if str(one).strip()]


def _date_forms(date: str) -> list[str]:
    """The ways in which the date YYYYMMDD may stand in a text."""
    if not re.fullmatch(r"\d{8}", date):
        return []
    year, month, day = date[:4], date[4:6], date[6:]
    pairs = {
        (month, day),
        (day, month),
        (month.lstrip("0"), day.lstrip("0")),
        (day.lstrip("0"), month.lstrip("0")),
    }
    forms = [f"{a}{mark}{b}{mark}{year}" for a, b in pairs for mark in "/.-"]
    return [date, f"{year}-{month}-{day}", f"{year}/{month}/{day}", *forms]
