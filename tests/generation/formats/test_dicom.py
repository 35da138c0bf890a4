"""Format `dicom`: attributes, precision and identifiers; dicom3tools finds no error, dcmtk reads
the same back."""

import dataclasses
import html
import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from medcodi.generation.formats import GeneratedStudy
from medcodi.generation.formats.dicom import view_position
from tests.generation.studies import (
    FACTS,
    make_format,
    phantom_family,
    phantom_studies,
    phantom_values,
    write_all,
)

SIZE = 64
LONG = "Große Ergüsse beidseits — no pneumothorax.\nHeart size is normal. " * 40
PICTURES = ("frontal", "lateral")
# Synthetic Data is younger than the dicom3tools of Debian 12 (2022-06-18), which has never heard of
# its tag
TOO_YOUNG = (
    "Error - </(0008,001c)> - Attribute with an even group number is not a recognized "
    "standard attribute"
)


def tool(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {package}")
    return path


@pytest.fixture(scope="module")
def values():
    values = phantom_values(2, SIZE)
    values[1]["report"] = LONG
    return values


@pytest.fixture(scope="module")
def folder(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom")
    write_all(folder, "dicom", values, SIZE)
    return folder


@pytest.fixture(scope="module")
def dx_folder(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dx")
    write_all(folder, "dicom-dx", values, SIZE, dataclasses.replace(FACTS, pixel_spacing=1.5))
    return folder


def read(folder, study: int, name: str) -> pydicom.Dataset:
    return pydicom.dcmread(folder / f"sample_{study:05d}" / f"{name}.dcm")


def test_one_study_of_files(folder):
    assert sorted(p.name for p in (folder / "sample_00000").iterdir()) == [
        "frontal.dcm",
        "lateral.dcm",
        "report.dcm",
        "sample_00000_tabular.csv",
    ]
    files = [read(folder, 0, name) for name in (*PICTURES, "report")]
    assert len({f.StudyInstanceUID for f in files}) == len({f.PatientID for f in files}) == 1
    assert len({f.SeriesInstanceUID for f in files}) == len({f.SOPInstanceUID for f in files}) == 3
    assert [f.Modality for f in files] == ["OT", "OT", "SR"]
    other = read(folder, 1, "frontal")
    assert (
        other.StudyInstanceUID != files[0].StudyInstanceUID
        and other.PatientID != files[0].PatientID
    )


@pytest.mark.parametrize("name", [*PICTURES, "report"])
def test_says_that_it_is_synthetic(folder, name):
    ds = read(folder, 0, name)
    assert ds[0x0008, 0x001C].value == "YES"  # Synthetic Data
    assert ds.PatientIdentityRemoved == "YES" and ds.DeidentificationMethod
    assert ds.PatientID.startswith("SYN-") and ds.PatientName.family_name == "Synthetic"
    for uid in (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID):
        assert re.fullmatch(r"2\.25\.[1-9]\d{0,38}", uid) and int(uid[5:]) < 2**128


@pytest.mark.parametrize(
    ("name", "view", "orientation"), [("frontal", "PA", ["L", "F"]), ("lateral", "LL", ["P", "F"])]
)
def test_image_attributes(folder, name, view, orientation):
    ds = read(folder, 0, name)
    assert ds.SOPClassUID.name == "Secondary Capture Image Storage" and ds.ConversionType == "SYN"
    assert (
        ds.ImageType == ["DERIVED", "SECONDARY"] and ds.PhotometricInterpretation == "MONOCHROME2"
    )
    assert (ds.BurnedInAnnotation, ds.RecognizableVisualFeatures) == ("NO", "NO")
    assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (16, 12, 11, 0)
    assert ds.ViewPosition == view and ds.PatientOrientation == orientation
    for told in (
        "model tiny",
        FACTS.model_hash,
        "seed 1000",
        "prompts sha256 ",
        "num_inference_steps 2",
    ):
        assert told in ds.DerivationDescription
    assert "PixelSpacing" not in ds


def test_twelve_bits_are_real(folder, values):
    for i, stored in enumerate(values):
        for name in PICTURES:
            pixels = read(folder, i, name).pixel_array
            assert pixels.dtype == np.uint16 and pixels.max() < 4096
            assert np.abs(pixels / 4095 - stored[name]).max() <= 0.5 / 4095 + 1e-9
            assert len(np.unique(pixels)) > 256


def test_report_is_one_text_item(folder, values):
    for i, stored in enumerate(values):
        ds = read(folder, i, "report")
        assert ds.SOPClassUID.name == "Basic Text SR Storage" and ds.ValueType == "CONTAINER"
        (item,) = ds.ContentSequence
        assert item.ValueType == "TEXT" and item.TextValue == stored["report"].strip()


def test_an_empty_text_is_left_out_with_its_reason(values, tmp_path):
    (written,) = write_all(tmp_path, "dicom", [values[0] | {"report": " "}], SIZE)
    assert written.left_out == {"report": "the generated text is empty"}
    assert set(written.files) == {"frontal", "lateral", "tabular"} and not list(
        tmp_path.rglob("report.dcm")
    )


def test_same_study_same_bytes_other_origin_other_identity(folder, values, tmp_path):
    write_all(tmp_path / "again", "dicom", values, SIZE)
    for path in folder.rglob("*.dcm"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(folder)).read_bytes()
    family = phantom_family(values, SIZE)
    (study, _) = phantom_studies(family, values)
    uid = make_format("dicom", family).uid(study, "study")
    assert uid == read(folder, 0, "frontal").StudyInstanceUID
    others = [
        (dataclasses.replace(FACTS, model_hash="f" * 16), study),
        (dataclasses.replace(FACTS, settings={"num_inference_steps": 3}), study),
        *[
            (FACTS, dataclasses.replace(study, **change))
            for change in ({"seed": 1}, {"prompt_hash": "none"}, {"stem": "sample_00009"})
        ],
    ]
    assert (
        len({uid, *[make_format("dicom", family, facts).uid(s, "study") for facts, s in others]})
        == 6
    )


def test_dx_attributes_and_conditions(dx_folder, folder, values, tmp_path):
    ds = read(dx_folder, 0, "lateral")
    assert (
        ds.SOPClassUID.name == "Digital X-Ray Image Storage - For Presentation"
        and ds.Modality == "DX"
    )
    assert ds.ViewCodeSequence[0].CodeMeaning == "left lateral" and ds.ImagerPixelSpacing == [
        1.5,
        1.5,
    ]
    assert ds.SOPInstanceUID != read(folder, 0, "lateral").SOPInstanceUID
    with pytest.raises(
        ValueError, match="states the spacing of the pixels: give --pixel-spacing in mm"
    ):
        write_all(tmp_path, "dicom-dx", values, SIZE)


def test_views(values, tmp_path):
    with pytest.raises(
        ValueError, match=r"modalities.lateral.view: expected one of PA, AP, LL, RL, got 'side'"
    ):
        write_all(tmp_path, "dicom", values, SIZE, lateral={"view": "side"})
    write_all(tmp_path, "dicom", values[:1], SIZE, frontal={"view": "AP"}, lateral={"view": "RL"})
    assert read(tmp_path, 0, "frontal").ViewPosition == "AP"
    assert read(tmp_path, 0, "lateral").PatientOrientation == ["A", "F"]


def errors_of_dciodvfy(path) -> list[str]:
    call = [tool("dciodvfy", "dicom3tools"), "-new", str(path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=60)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy names the IOD that it checks"
    return [line for line in lines if line.startswith(("Error", "Abort")) and line != TOO_YOUNG]


def test_dicom3tools_finds_no_error(folder, dx_folder):
    files = [*sorted(folder.rglob("*.dcm")), *sorted(dx_folder.rglob("*.dcm"))]
    assert len(files) == 12
    assert {str(path): errors for path in files if (errors := errors_of_dciodvfy(path))} == {}


def test_dicom3tools_would_find_one(folder, tmp_path):
    """The check itself can fail."""
    ds = read(folder, 0, "frontal")
    del ds.ConversionType
    ds.save_as(tmp_path / "bad.dcm")
    assert any("ConversionType" in error for error in errors_of_dciodvfy(tmp_path / "bad.dcm"))


def test_dcmtk_reads_the_same_pixels(folder, tmp_path):
    call = [
        tool("dcmdump", "dcmtk"),
        "+W",
        str(tmp_path),
        str(folder / "sample_00000" / "frontal.dcm"),
    ]
    dumped = subprocess.run(call, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "DERIVED\\SECONDARY" in dumped and "2.25." in dumped
    (raw,) = tmp_path.glob("*.raw")
    pixels = np.fromfile(raw, "<u2").reshape(SIZE, SIZE)
    np.testing.assert_array_equal(pixels, read(folder, 0, "frontal").pixel_array)


def test_dcmtk_reads_the_same_attributes(folder):
    """dcm2json against pydicom's own JSON (PS3.18, annex F), every attribute but the pixels."""
    for name in (*PICTURES, "report"):
        call = [tool("dcm2json", "dcmtk"), str(folder / "sample_00000" / f"{name}.dcm")]
        theirs = json.loads(
            subprocess.run(call, capture_output=True, text=True, check=True, timeout=60).stdout
        )
        ours = read(folder, 0, name).to_json_dict()
        assert {tag for tag in theirs if tag != "7FE00010"} >= {"00080018", "0020000D", "00100020"}
        assert _values(theirs) == _values(ours)


def _values(attributes: dict) -> dict:
    """Numbers as numbers: DS and IS may stand as text in either."""
    found = {tag: entry.get("Value", []) for tag, entry in attributes.items() if tag != "7FE00010"}
    return {
        tag: [
            _values(one)
            if isinstance(one, dict) and not one.keys() & {"Alphabetic"}
            else float(one)
            if attributes[tag]["vr"] in ("DS", "IS", "US")
            else one
            for one in values
        ]
        for tag, values in found.items()
    }


def test_dcmtk_reads_the_same_text(folder, values):
    for i, stored in enumerate(values):
        call = [tool("dsr2xml", "dcmtk"), str(folder / f"sample_{i:05d}" / "report.dcm")]
        done = subprocess.run(call, capture_output=True, text=True, check=True, timeout=60)
        (text,) = re.findall(r"<value>([^<]*)</value>\s*</text>", done.stdout)
        assert html.unescape(text).split() == stored["report"].split()


def test_what_dicom_has_no_form_for_stays_a_file(folder, values):
    row = (folder / "sample_00000" / "sample_00000_tabular.csv").read_text().splitlines()
    assert row[0].split(",") == list(values[0]["tabular"]) and len(row) == 2


def test_the_view_position_is_that_of_the_sample():
    front = SimpleNamespace(view="PA")
    study = GeneratedStudy("s", 1, "none", {"row": {"projection": "AP"}}, {})
    assert view_position(study, front) == "AP"
    assert view_position(study, SimpleNamespace(view="LL")) == "LL"
    for row, expected in (({"projection": None}, "PA"), ({"projection": "AP"}, "AP"), ({}, "PA")):
        given = GeneratedStudy("s", 1, "none", {"text": "projection"}, {}, given={"row": row})
        assert view_position(given, front) == expected


def test_a_view_that_the_recipe_does_not_know_is_not_guessed(values, tmp_path):
    family = phantom_family(values, SIZE)
    (study, _) = phantom_studies(family, values)
    modality = family.modality("frontal")
    modality.name = "oblique"
    study = GeneratedStudy(study.stem, 1, "none", {"oblique": values[0]["frontal"]}, {})
    with pytest.raises(
        ValueError, match=r"the recipe lacks modalities.oblique.view \(PA, AP, LL, RL\)"
    ):
        make_format("dicom-dx", family, dataclasses.replace(FACTS, pixel_spacing=1.0), ("frontal",))
    make_format("dicom", family, FACTS, ("frontal",)).write(study, tmp_path, "")
    ds = read(tmp_path, 0, "oblique")
    assert "ViewPosition" not in ds and not ds.PatientOrientation
