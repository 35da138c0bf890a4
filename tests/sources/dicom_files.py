"""Small DICOM files for the tests, written with pydicom. No patient stands behind them."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

DX = "1.2.840.10008.5.1.4.1.1.1.1"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


def uid(name: str) -> str:
    """The same UID for the same name."""
    return generate_uid(entropy_srcs=[name])


def ramp(height: int = 24, width: int = 20, bits: int = 12) -> np.ndarray:
    """uint16 (height, width): greys from 0 to the largest of `bits` bits."""
    return (
        np.linspace(0, 2**bits - 1, height * width).round().astype(np.uint16).reshape(height, width)
    )


def dataset(sop_class: str, study: str, patient: str, **attributes: object) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.StudyInstanceUID, ds.PatientID = sop_class, uid(study), patient
    ds.SeriesInstanceUID = uid(f"{study} series")
    for keyword, value in attributes.items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID") or generate_uid()
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    return ds


def image(
    pixels: np.ndarray | None = None,
    study: str = "study",
    patient: str = "P1",
    bits: int = 12,
    **attributes,
):
    """A digital radiograph, PA, MONOCHROME2; `attributes` replace its own (None removes one)."""
    pixels = ramp(bits=bits) if pixels is None else pixels
    own = {
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "BurnedInAnnotation": "NO",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelSpacing": [0.14, 0.14],
        "PixelData": pixels.tobytes(),
    }
    return dataset(DX, study, patient, **{**own, **attributes})


def text_item(text: str, concept: str = "Finding") -> Dataset:
    item, name = Dataset(), Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = "121071", "DCM", concept
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = [name]
    return item


def report(*texts: str | Dataset, study: str = "study", patient: str = "P1", **attributes):
    """A Basic Text SR with one TEXT item for each text."""
    ds = dataset(BASIC_TEXT_SR, study, patient, Modality="SR", ValueType="CONTAINER", **attributes)
    ds.ContentSequence = [text if isinstance(text, Dataset) else text_item(text) for text in texts]
    return ds


def save(ds: pydicom.Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=False)
    return path
