"""Reports: the text of a structured report, and text files that stand beside the images of one
study."""

import os
from pathlib import Path

import pydicom

from medcodi.sources.archive.identity import without_identity
from medcodi.sources.archive.options import DicomOptions, Record, RejectedError
from medcodi.sources.dicom.checks import identify
from medcodi.sources.dicom.opening import is_dicom, open_dicom

MAX_TEXT_BYTES = 1 << 20
MAX_SIBLINGS = 200
MAX_DEPTH = 16
SUFFIX = b".txt"


def structured_report(ds: pydicom.Dataset, options: DicomOptions, key: bytes) -> Record:
    """Record of kind "words" of a structured report: its TEXT items in their order, a line each
    (PS3.3 C.17.3; Basic Text SR and its kin). Raises RejectedError when none is left."""
    record = identify(ds, key)
    texts = _texts(ds, options.sections, 0)
    if not texts:
        wanted = (
            "text" if not options.sections else f"text of a section {', '.join(options.sections)}"
        )
        raise RejectedError(f"the structured report holds no {wanted}")
    record.kind = "words"
    return _finished(record, "\n".join(texts), ds, "report from structured report")


def _texts(ds: pydicom.Dataset, sections: list[str], depth: int) -> list[str]:
    items = ds.get("ContentSequence")
    if not isinstance(items, pydicom.Sequence) or depth > MAX_DEPTH:
        return []
    found = []
    for item in items:
        text = str(item.get("TextValue") or "").strip()
        if (
            item.get("ValueType") == "TEXT"
            and text
            and (not sections or _concept(item) in sections)
        ):
            found.append(text)
        inside = (
            [] if _concept(item) in sections else sections
        )  # a container that is wanted is taken whole
        found += _texts(item, inside if sections else [], depth + 1)
    return found


def _concept(item: pydicom.Dataset) -> str:
    names = item.get("ConceptNameCodeSequence")
    if not isinstance(names, pydicom.Sequence) or not names:
        return ""
    return str(names[0].get("CodeMeaning") or "").strip().upper()


def text_report(source: str, path: bytes, options: DicomOptions, key: bytes) -> Record:
    """Record of kind "words" of a text file: it belongs to the study of `name.dcm` or `name` beside
    it, else of the folder `name/`, else of its own folder when all DICOM files there are of one
    study.

    Raises RejectedError when no single study has it, and for a text that is no UTF-8, blank or over
    1 MiB.
    """
    full = Path(os.fsdecode(os.path.join(os.fsencode(source), path)))
    if full.stat().st_size > MAX_TEXT_BYTES:
        raise RejectedError(
            f"the text has {full.stat().st_size} bytes, the limit is {MAX_TEXT_BYTES}"
        )
    record, ds = _owner(full, options, key)
    try:
        text = full.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise RejectedError("the text is not UTF-8") from None
    if not text:
        raise RejectedError("the text is blank")
    record.kind, record.rank, record.instance = "words", [], ""
    return _finished(record, text, ds, "report from text file")


def _owner(path: Path, options: DicomOptions, key: bytes) -> tuple[Record, pydicom.Dataset]:
    """(identity, header) of the study that a text file belongs to."""
    for named in (path.with_suffix(".dcm"), path.with_suffix("")):
        if named.is_file() and not named.is_symlink():
            return _identity(named, options, key)
    folder = path.with_suffix("")
    folder = folder if folder.is_dir() and not folder.is_symlink() else path.parent
    owners: dict[str, tuple[Record, pydicom.Dataset]] = {}
    siblings = sorted(
        p
        for p in folder.iterdir()
        if p != path and p.suffix != ".txt" and not p.is_symlink() and p.is_file()
    )
    if len(siblings) > MAX_SIBLINGS:
        raise RejectedError(
            f"a text beside {len(siblings)} files, at most {MAX_SIBLINGS} are looked at for its "
            "study"
        )
    for sibling in siblings:
        try:
            if is_dicom(sibling):
                record, ds = _identity(sibling, options, key)
                owners.setdefault(record.study, (record, ds))
        except (RejectedError, OSError):
            continue  # the file itself is refused with its own reason
    if len(owners) != 1:
        raise RejectedError(f"a text beside the DICOM files of {len(owners)} studies, expected one")
    return next(iter(owners.values()))


def _identity(path: Path, options: DicomOptions, key: bytes) -> tuple[Record, pydicom.Dataset]:
    ds = open_dicom(path, options.max_file_mib << 20, header_only=True)
    return identify(ds, key), ds


def _finished(record: Record, text: str, ds: pydicom.Dataset, flag: str) -> Record:
    """`text` with normal line ends and without the identity that `ds` names (a generated study
    names nobody)."""
    record.text, removed = text.replace("\r\n", "\n"), 0
    if str(ds.get("SyntheticData") or "").strip() != "YES":
        record.text, removed = without_identity(record.text, ds)
    record.flags = [flag] + (["report with identity removed"] if removed else [])
    return record
