"""One file -> one Record: what a worker process does. Nothing that a file contains gets out of here
as an exception."""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pydicom

from medcodi.data.duplicates import fingerprint
from medcodi.data.png import encode_image
from medcodi.sources.archive.options import DicomOptions, Record, RejectedError
from medcodi.sources.dicom.checks import describe_image
from medcodi.sources.dicom.opening import open_dicom
from medcodi.sources.dicom.pixels import prepared_image
from medcodi.sources.dicom.report import SUFFIX, structured_report, text_report

with contextlib.suppress(ImportError):  # not on every system
    import resource


@dataclass
class Job:
    """What every file of a run is done with; `common_aspect`: height of a pixel over its width at
    the common spacing."""

    source: str
    options: DicomOptions
    key: bytes
    common_aspect: float = 1.0

    def for_file(self, path: bytes) -> "Job":
        """What goes to the worker with one file."""
        return self


def start_worker(max_memory_gib: float) -> None:
    """Quiet libraries, and a ceiling on the memory of this process: a file that needs more is
    refused."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    with contextlib.suppress(NameError, OSError, ValueError):  # no such limit on this system
        with open("/proc/self/statm") as file:
            in_use = int(file.read().split()[0]) * resource.getpagesize()
        limit = in_use + int(max_memory_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def read_one(job: Job, path: bytes) -> Record:
    """The Record of the file `path` (relative to the source)."""
    return guarded(_read, job, path)


def read_by_patient(job: Job, path: bytes) -> Record:
    """The Record of a radiograph, grouped by patient instead of study, the earliest first."""
    return guarded(_read_by_patient, job, path)


def guarded(read: Callable[[Job, bytes], Record], job: Job, path: bytes) -> Record:
    """`read(job, path)`, or the Record that says why it did not come to one."""
    try:
        return read(job, path)
    except RejectedError as error:
        return Record.of_error(error)
    except MemoryError:
        return Record.rejected(
            f"needs more than {job.options.max_memory_gib:g} GiB of memory", retry=True
        )
    except OSError as error:
        return Record.rejected("the file cannot be opened", error.strerror or error, retry=True)
    except Exception as error:  # a hostile value in an attribute that is read lazily
        return Record.rejected("an attribute cannot be read", repr(error))


def _read(job: Job, path: bytes) -> Record:
    if path.lower().endswith(SUFFIX):
        return text_report(job.source, path, job.options, job.key)
    ds = open_file(job, path)
    if ds.get("Modality") == "SR":
        return structured_report(ds, job.options, job.key)
    return read_image(job, ds)


def full_path(job: Job, path: bytes) -> str:
    return os.fsdecode(os.path.join(os.fsencode(job.source), path))


def open_file(job: Job, path: bytes) -> pydicom.Dataset:
    return open_dicom(full_path(job, path), job.options.max_file_mib << 20)


def read_image(job: Job, ds: pydicom.Dataset) -> Record:
    """Everything about an image, and its pixels as they are prepared."""
    record = describe_image(ds, job.options, job.key)
    row, column = record.spacing or (job.common_aspect, 1.0)
    aspect = row / column / job.common_aspect
    try:
        prepared = prepared_image(ds, job.options, aspect)
    except RejectedError as error:
        error.said, error.view = record.said, record.view
        raise
    record.png, record.greys = encode_image(prepared.image), prepared.greys.to_dict()
    record.suspect, record.mark = prepared.notes, fingerprint(prepared.image).hex()
    record.flags += prepared.flags
    return record


def _read_by_patient(job: Job, path: bytes) -> Record:
    ds = open_file(job, path)
    record = read_image(job, ds)
    day, time = (
        str(ds.get("StudyDate") or "99999999"),
        str(ds.get("AcquisitionTime") or ds.get("StudyTime") or ""),
    )
    record.study, record.rank = record.patient, [day.strip(), time.strip(), *record.rank]
    return record
