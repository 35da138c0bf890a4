"""Is a data set a greyscale radiograph of the chest that may be used? Its identity, its rank, its
spacing, as a Record."""

import math

import pydicom

from medcodi.sources.archive.identity import keyed_hash
from medcodi.sources.archive.options import DicomOptions, Record, RejectedError
from medcodi.sources.dicom.person import find_person
from medcodi.sources.dicom.view import View, find_view

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
SPACINGS = (
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
)  # patient, detector, film
MAX_ASPECT = 4.0
KNOWN = {
    *("CT", "MR", "US", "NM", "PT", "MG", "XA", "RF", "CR", "DX", "RG", "OT", "SR", "SEG", "ECG"),
    *("IO", "PX", "XC", "ES", "SM", "OP", "RTDOSE", "RTPLAN", "RTSTRUCT", "RTIMAGE"),
    *("PR", "KO", "DOC"),
}


def identify(ds: pydicom.Dataset, key: bytes) -> Record:
    """Record of kind "picture" with hashed study, patient and instance. Raises RejectedError for
    missing identifiers."""
    study, patient = _word(ds, "StudyInstanceUID"), _word(ds, "PatientID")
    if not study:
        raise RejectedError("StudyInstanceUID is missing: the study is unknown")
    if not patient:
        raise RejectedError("PatientID is blank: the patient, and with it the split, is unknown")
    instance = _word(ds, "SOPInstanceUID")
    return Record(
        "picture",
        keyed_hash(key, "study", study),
        keyed_hash(key, "patient", patient),
        keyed_hash(key, "instance", instance) if instance else "",
    )


def describe_image(ds: pydicom.Dataset, options: DicomOptions, key: bytes) -> Record:
    """Everything about an image but its pixels. Raises RejectedError with the first reason not to
    take it."""
    _check_kind(ds, options)
    _check_pixel_module(ds, options)
    record = identify(ds, key)
    seen = find_view(ds, options.views)
    if seen.view is View.UNKNOWN:
        reason = f"the view is unknown: {seen.where}"
        raise RejectedError(reason, seen.said, seen.said, seen.view.value)
    record.view, record.projection, record.said = seen.view.value, seen.projection, seen.said
    record.spacing, record.flags = pixel_spacing(ds), [f"view from {seen.where}"]
    record.person = find_person(ds)
    if _word(ds, "BurnedInAnnotation") != "NO":
        record.flags.append("BurnedInAnnotation absent")
    if _word(ds, "SyntheticData") == "YES":
        record.flags.append("synthetic")
    record.rank = _rank(ds, record.instance)
    return record


def _check_kind(ds: pydicom.Dataset, options: DicomOptions) -> None:
    modality = _word(ds, "Modality")
    if "FloatPixelData" in ds or "DoubleFloatPixelData" in ds:
        raise RejectedError("holds floating point pixels, expected whole numbers")
    if "PixelData" not in ds:
        kind = _sop_class(ds)
        raise RejectedError(f"holds no pixel data ({kind}): no image, or truncated before it")
    if not ds["PixelData"].value:
        raise RejectedError("the pixel data is empty")
    if options.modalities and modality not in options.modalities:
        named = modality if modality in KNOWN else "blank" if not modality else "another value"
        raise RejectedError(f"Modality is {named}, none of {', '.join(options.modalities)}")
    body_part = _word(ds, "BodyPartExamined")
    if body_part and options.body_parts and body_part not in options.body_parts:
        raise RejectedError(
            f"BodyPartExamined is none of {', '.join(options.body_parts)}", body_part
        )
    if _word(ds, "BurnedInAnnotation") == "YES":
        raise RejectedError("BurnedInAnnotation is YES: the pixels may identify the patient")


def _check_pixel_module(ds: pydicom.Dataset, options: DicomOptions) -> None:
    samples, photometric = integer(ds, "SamplesPerPixel", 1), _word(ds, "PhotometricInterpretation")
    if not photometric:
        raise RejectedError("PhotometricInterpretation is missing")
    if samples != 1 or photometric not in GREY:
        named = (
            photometric if photometric in COLOUR + GREY else "another photometric interpretation"
        )
        raise RejectedError(
            f"not a greyscale image: {named}, {samples} samples a pixel; expected 1 and "
            f"{' or '.join(GREY)}"
        )
    frames = integer(ds, "NumberOfFrames", 1)
    if frames != 1:
        raise RejectedError(f"the image has {frames} frames, expected one")
    stored, allocated = integer(ds, "BitsStored"), integer(ds, "BitsAllocated")
    if allocated not in (8, 16) or not 2 <= stored <= allocated:
        raise RejectedError(
            f"{stored} bits stored of {allocated} allocated, expected 2 to 8 of 8 or 2 to 16 of 16"
        )
    if integer(ds, "HighBit", stored - 1) != stored - 1:
        raise RejectedError(f"HighBit is {ds.HighBit}, expected BitsStored - 1 = {stored - 1}")
    if integer(ds, "PixelRepresentation", 0) not in (0, 1):
        raise RejectedError("PixelRepresentation is neither 0 nor 1")
    rows, columns = integer(ds, "Rows"), integer(ds, "Columns")
    if rows < 1 or columns < 1:
        raise RejectedError(f"the image is empty: {rows} x {columns}")
    ds.Rows, ds.Columns, ds.BitsStored, ds.BitsAllocated, ds.SamplesPerPixel = (
        rows,
        columns,
        stored,
        allocated,
        1,
    )
    if rows * columns > options.max_megapixels * 1e6:
        raise RejectedError(
            f"the image is too large: {rows} x {columns}, the limit is {options.max_megapixels:g} "
            "Mpx"
        )


def integer(ds: pydicom.Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number of the data set. Raises RejectedError where it is missing without a default,
    or no number."""
    value = ds.get(keyword)
    if value is None or value == "":
        if default is None:
            raise RejectedError(f"{keyword} is missing")
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise RejectedError(f"{keyword} is not a whole number", value) from None


def pixel_spacing(ds: pydicom.Dataset) -> list[float] | None:
    """[row, column] spacing in mm, of the first attribute that has one; None where no attribute
    does.

    Raises RejectedError for a spacing that is no pair of positive numbers, or over four times as
    long as wide.
    """
    for keyword in SPACINGS:
        value = ds.get(keyword)
        if value is None or value == "":
            continue
        try:
            row, column = (float(one) for one in value)
        except (TypeError, ValueError):
            raise RejectedError(f"{keyword} is no pair of numbers", value) from None
        if not (math.isfinite(row) and math.isfinite(column) and row > 0 and column > 0):
            raise RejectedError(f"{keyword} is no pair of positive numbers", value)
        if not 1 / MAX_ASPECT <= row / column <= MAX_ASPECT:
            raise RejectedError(f"{keyword} is implausible: {row:g} by {column:g} mm")
        return [round(row, 6), round(column, 6)]
    return None


def _rank(ds: pydicom.Dataset, instance: str) -> list[float | str]:
    """Order among the images of one view in a study, the lowest is taken: original before derived,
    for presentation before for processing, more pixels, lower series number, lower instance number,
    hash."""
    image_type = ds.get("ImageType") or []
    derived = (
        "DERIVED" in [str(one).upper() for one in image_type]
        if not isinstance(image_type, str)
        else False
    )
    raw = _word(ds, "PresentationIntentType") == "FOR PROCESSING"
    numbers = [_number(ds, "SeriesNumber"), _number(ds, "InstanceNumber")]
    return [
        float(derived),
        float(raw),
        -float(integer(ds, "Rows") * integer(ds, "Columns")),
        *numbers,
        instance,
    ]


def _number(ds: pydicom.Dataset, keyword: str) -> float:
    try:
        return float(integer(ds, keyword, 0))
    except RejectedError:
        return 1e9


def _word(ds: pydicom.Dataset, keyword: str) -> str:
    """Value of a single-valued attribute as stripped upper case; "" where it is missing."""
    value = ds.get(keyword)
    return "" if value is None else str(value).strip().strip("\0").upper()


def _sop_class(ds: pydicom.Dataset) -> str:
    """Name of the SOP class in the standard; no text of the file."""
    value = ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID")
    known = isinstance(value, pydicom.uid.UID) and value.name != value
    return value.name if known else "an unknown kind of object"
