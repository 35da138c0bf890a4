"""What `medcodi generate` writes. One file a format; a format is imported when it is asked for."""

import importlib
import importlib.util

from medcodi.config_io import unknown_key
from medcodi.generation.formats.base import Facts, GeneratedStudy, StudyFormat

__all__ = ["FORMATS", "Facts", "GeneratedStudy", "StudyFormat", "get_format"]

# name -> (where, the package that it needs and the extra that brings it)
FORMATS = {
    "png": ("files:FilesFormat", None),
    "dicom": ("dicom:DicomFormat", ("pydicom", "dicom")),
    "dicom-dx": ("dicom_dx:DXFormat", ("pydicom", "dicom")),
    "imagefolder": ("imagefolder:ImageFolderFormat", None),
    "fhir": ("fhir:FhirFormat", ("fhir.resources", "fhir")),
}


def get_format(name: str) -> type[StudyFormat]:
    """Class of a format. ValueError names the valid formats, or the extra that is not installed."""
    if name not in FORMATS:
        raise unknown_key(name, FORMATS, "the formats of generate")
    where, needs = FORMATS[name]
    if needs and not _installed(needs[0]):
        raise ValueError(
            f"format {name!r} needs the package {needs[0]!r}: pip install 'medcodi[{needs[1]}]'"
        )
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        return False
