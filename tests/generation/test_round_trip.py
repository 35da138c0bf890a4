"""Out and in again: a DICOM study that was written goes through the DICOM source to the same pixels
and text."""

import numpy as np
import pydicom
import pytest
from PIL import Image

from medcodi.data.prepared import PreparedDataset
from medcodi.generation.request import Request
from medcodi.generation.run import generate_to_folder
from tests.generation.studies import phantom_values, write_all

SIZE = 32


@pytest.mark.parametrize("name", ["dicom", "fhir"])
def test_written_studies_come_back(tmp_path, name):
    prepare = pytest.importorskip("medcodi.sources.archive.prepare").prepare_dicom
    values = phantom_values(3, SIZE)
    values[1]["report"] = "Große Ergüsse beidseits. No pneumothorax.\nHeart size is normal."
    write_all(tmp_path / "dicom", name, values, SIZE)
    options = {"front": "frontal", "side": "lateral", "text": "report", "size": SIZE}
    counts = prepare(
        tmp_path / "dicom", options, tmp_path / "prepared", num_workers=1, validation=0.0, test=0.0
    )
    assert counts["studies"] == 3
    back = PreparedDataset.load(tmp_path / "prepared", "train")
    found = {study.values["report"]: study.values for study in back.batch(range(len(back)))}
    assert len(found) == 3
    for stored in values:
        again = found[stored["report"].strip()]
        for view in ("frontal", "lateral"):
            pixels = np.round(stored[view] * 4095)  # what 12 bits hold
            assert np.abs(again[view] - pixels / 4095).max() <= 1 / 65535


def test_generated_studies_come_back(tiny_run, tmp_path):
    """What the pipeline generates, as DICOM through the DICOM source, against the same generation
    as DICOM pixels and as PNG and text files. A step of 12 bits is 1 / 4095; the prepared set keeps
    16 bits of it."""
    prepare = pytest.importorskip("medcodi.sources.archive.prepare").prepare_dicom
    names = ["frontal", "lateral", "report"]
    for name in ("dicom", "png"):
        generate_to_folder(
            Request(
                tiny_run.run_dir / "pipeline",
                tmp_path / name,
                outputs=names,
                format=name,
                num_samples=3,
                num_inference_steps=2,
                seed=5,
            )
        )
    pictures = [pydicom.dcmread(path) for path in sorted((tmp_path / "dicom").rglob("frontal.dcm"))]
    options = {"front": "frontal", "side": "lateral", "text": "report", "size": pictures[0].Rows}
    counts = prepare(
        tmp_path / "dicom", options, tmp_path / "prepared", num_workers=1, validation=0.0, test=0.0
    )
    texts = [path.read_text().strip() for path in sorted((tmp_path / "png").rglob("*_report.txt"))]
    assert counts["studies"] == len(pictures) == 3 and counts["reports"] == sum(
        bool(text) for text in texts
    )
    back = PreparedDataset.load(tmp_path / "prepared", "train")
    found = {
        study.values["frontal"].tobytes(): study.values for study in back.batch(range(len(back)))
    }
    shown = [
        np.asarray(Image.open(path), float) / 255
        for path in sorted((tmp_path / "png").rglob("*_frontal.png"))
    ]
    for picture, grey, text in zip(pictures, shown, texts, strict=True):
        stored = np.round(picture.pixel_array / 4095 * 65535).astype(np.uint16)
        again = found[(stored.astype(np.float32) / 65535.0).tobytes()]
        assert again.get("report", "") == text
        assert np.abs(again["frontal"] - grey).max() <= 0.5 / 255 + 0.5 / 4095 + 1e-6
