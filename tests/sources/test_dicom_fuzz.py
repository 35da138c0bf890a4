"""Damaged bytes: each file is taken or refused, no worker dies, and a file that was cut is refused
or whole."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources import get_source
from medcodi.sources.archive.options import DicomOptions
from medcodi.sources.archive.work import Job, read_one
from tests.sources.dicom_files import image, report

OPTIONS = {
    "front": "frontal",
    "side": "lateral",
    "text": "report",
    "size": 16,
    "modalities": [],
    "body_parts": [],
    "max_file_mib": 4,
    "max_megapixels": 1.0,
    "max_memory_gib": 1.0,
}


def as_bytes(ds: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


def seeds() -> list[bytes]:
    """Small whole files: every family of transfer syntax, lookup table and window, and a structured
    report."""
    noise = np.random.default_rng(0).integers(0, 4096, (32, 32)).astype(np.uint16)
    plain = [
        image(noise),
        image(noise, WindowCenter=900, WindowWidth=700, PhotometricInterpretation="MONOCHROME1"),
    ]
    deflated = image(noise)
    deflated.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    compressed = [image(noise), image(noise)]
    compressed[0].compress(pydicom.uid.RLELossless)
    compressed[1].compress(pydicom.uid.JPEG2000Lossless)
    foreign = []
    for name in (
        "JPEGLSNearLossless_16.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_implicit.dcm",
    ):
        ds = pydicom.dcmread(get_testdata_file(name))
        ds.ViewPosition, ds.StudyInstanceUID, ds.PatientID = "PA", "1.2.3", "P"
        foreign.append(ds)
    endless = report("No effusion.", "Heart is normal.")
    endless["ContentSequence"].is_undefined_length = True
    for item in endless.ContentSequence:
        item.is_undefined_length_sequence_item = True
    return [
        as_bytes(ds)
        for ds in [*plain, deflated, *compressed, *foreign, report("No effusion."), endless]
    ]


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One of: some bytes changed, the end cut off, a part removed, repeated, filled with 0xFF, or
    strange bytes put in."""
    out = bytearray(data)
    start = int(rng.integers(100, len(out)))
    length = int(rng.integers(1, 40))
    kind = rng.integers(6)
    if kind == 0:
        for position in rng.integers(100, len(out), rng.integers(1, 20)):
            out[position] = rng.integers(256)
    elif kind == 1:
        del out[start:]
    elif kind == 2:
        del out[start : start + length]
    elif kind == 3:
        out[start:start] = out[start : start + length] * 3
    elif kind == 4:
        out[start : start + length] = b"\xff" * length
    else:
        out[start:start] = rng.bytes(length)
    return bytes(out)


def run_fuzz(folder: Path, number: int, seed: int) -> Counter:
    rng, whole = np.random.default_rng(seed), seeds()
    (folder / "source").mkdir()
    for i in range(number):
        (folder / "source" / f"{i:05d}.dcm").write_bytes(mutate(whole[i % len(whole)], rng))
    counts = get_source("dicom")(folder / "source", OPTIONS, folder / "out", num_workers=2)
    assert (
        counts["files"] == number == counts["images"] + counts["reports"] + counts["rejected files"]
    )
    for split in SPLITS:
        for study in PreparedDataset.load(folder / "out", split):
            for name in ("frontal", "lateral"):
                picture = study.values.get(name, np.zeros((16, 16)))
                assert picture.shape == (16, 16) and picture.min() >= 0 and picture.max() <= 1
    reasons = (folder / "out" / "rejects.csv").read_text().splitlines()[1:]
    return Counter(line.partition(",")[2] for line in reasons)


def test_300_mutated_files(tmp_path):
    reasons = run_fuzz(tmp_path, 300, seed=1)
    assert not [reason for reason in reasons if "crashed" in reason or "not done" in reason], (
        reasons
    )


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_5000_mutated_files(tmp_path):
    reasons = run_fuzz(tmp_path, 5000, seed=2)
    assert not [reason for reason in reasons if "crashed" in reason or "not done" in reason], (
        reasons
    )


@pytest.mark.parametrize("number", range(10))
def test_a_file_that_was_cut_is_refused_or_whole(tmp_path, number):
    whole = seeds()[number]
    job = Job(str(tmp_path), DicomOptions(**OPTIONS), b"k" * 16)
    (tmp_path / "whole").write_bytes(whole)
    expected = read_one(job, b"whole")
    assert expected.kind != "rejected", expected.reason
    for cut in [
        *range(0, len(whole), max(1, len(whole) // 25)),
        *range(len(whole) - 12, len(whole)),
    ]:
        (tmp_path / "cut").write_bytes(whole[:cut])
        found = read_one(job, b"cut")
        assert found.kind == "rejected" or (found.png, found.text) == (
            expected.png,
            expected.text,
        ), cut
