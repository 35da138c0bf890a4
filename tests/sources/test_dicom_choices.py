"""`prepare dicom`: suspects, the table of views, several images of a view, what the header says."""

import csv
import json

import numpy as np
import pytest

from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources import get_source
from tests.sources.dicom_files import image, ramp, report, save

OPTIONS = {"front": "a", "side": "b", "text": "c", "size": 24}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("choices") / "source"
    level = np.arange(576, dtype=np.uint16).reshape(24, 24) * 7

    def film(name, study, patient, **attributes):
        pixels = attributes.pop("pixels", level)
        save(image(pixels, study, patient, **attributes), root / f"{name}.dcm")

    film("plain", "s1", "p1", ViewPosition="AP", PatientSex="F", PatientAge="061Y")
    film("second", "s1", "p1", ViewPosition="PA", SeriesNumber=2, pixels=level[::-1])
    film("side", "s1", "p1", ViewPosition="LL")
    save(report("No effusion.", study="s1", patient="p1"), root / "sr")
    film("window", "s2", "p2", WindowCenter=30000, WindowWidth=1000)
    film("white", "s3", "p3", WindowCenter=1000, WindowWidth=400)
    dark = {"BitsStored": 16, "HighBit": 15}
    film("bits", "s4", "p4", ViewPosition="", StudyDescription="CHEST (PORTABLE AP)", **dark)
    film("unknown", "s5", "p5", ViewPosition=None, StudyDescription="CHEST 2 VIEWS")
    film("cut", "s6", "p6", PixelData=ramp().tobytes()[:-40])
    born = {"PatientBirthDate": "19000101", "StudyDate": "20000101", "PatientSex": "O"}
    film("old", "s7", "p7", pixels=level.T, **born)
    return root


def prepare(source, out, **options):
    counts = get_source("dicom")(source, {**OPTIONS, **options}, out, num_workers=1)
    studies = [study for split in SPLITS for study in PreparedDataset.load(out, split)]
    return counts, studies


def listed(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared") / "out"
    return out, *prepare(source, out, header="table")


def test_suspects_are_listed_with_figures_and_in_private_with_paths(prepared):
    out, counts, _ = prepared
    public, private = (
        listed(out / "suspects.csv"),
        listed(out.with_name("out.private") / "suspects.csv"),
    )
    assert sorted(row["path"] for row in private) == ["bits.dcm", "white.dcm"]
    assert [row["study_id"] for row in public] == [row["study_id"] for row in private]
    white = next(row for row in public if "white" in row["reasons"])
    assert float(white["white"]) > 0.6 and white["name"] == "a"
    bits = next(row for row in public if "stored range" in row["reasons"])
    assert float(bits["used"]) == pytest.approx(4025 / 65535, abs=1e-3)
    assert counts["suspects"] == 2
    rejects = {
        row["path"]: row["reason"] for row in listed(out.with_name("out.private") / "rejects.csv")
    }
    assert "hold nothing" in rejects["window.dcm"]


def test_the_table_of_views_adds_up(prepared):
    out, counts, _ = prepared
    rows = listed(out.with_name("out.private") / "views.csv")
    found = {row["said"]: (row["view"], row["projection"], int(row["images"])) for row in rows}
    assert found["ViewPosition: AP"] == ("front", "AP", 1)
    assert found["ViewPosition: LL"] == ("side", "LL", 1)
    assert found["StudyDescription: CHEST (PORTABLE AP)"] == ("front", "AP", 1)
    assert found["StudyDescription: CHEST 2 VIEWS"] == ("unknown", "", 1)
    total = sum(int(row["images"]) for row in rows)
    assert total == 9 == counts["files"] - counts["reports"]  # all but the report; the cut one too
    notes = json.loads((out / "prepared.json").read_text())["notes"]
    assert sum(notes["views looked at"].values()) == total
    assert "CHEST" not in (out / "prepared.json").read_text()


def test_projection_sex_and_age_of_the_header(prepared):
    _, _, studies = prepared
    rows = [study.values["table"] for study in studies if "table" in study.values]
    assert {"projection": "AP", "sex": "F", "age": 61} in rows
    assert {"projection": "PA", "sex": None, "age": 90} in rows  # 100 years


def test_the_first_of_a_view_or_all(source, prepared, tmp_path):
    _, counts, studies = prepared
    both = next(study for study in studies if "b" in study.values)
    assert set(both.values) == {"a", "b", "c", "table"}
    counts, studies = prepare(source, tmp_path / "all", multiple="all")
    first, second = sorted(
        (study for study in studies if study.values.get("c")), key=lambda study: study.study_id
    )
    assert second.study_id == f"{first.study_id}.2" and second.patient_id == first.patient_id
    assert set(first.values) == {"a", "b", "c"} and set(second.values) == {"a", "c"}
    np.testing.assert_allclose(second.values["a"], first.values["a"][::-1], atol=1e-4)
    assert counts["files"] == counts["images"] + counts["reports"] + counts["rejected files"]


def test_a_text_of_the_table_of_views_settles_it(source, tmp_path):
    counts, _ = prepare(source, tmp_path / "out", views={"chest 2 views": "PA"})
    assert counts["view from StudyDescription, as the options say"] == 1


def test_policies(source, tmp_path):
    counts, _ = prepare(source, tmp_path / "refuse", suspects="refuse")
    assert counts["images"] == 3 and counts["suspects"] == 0
    counts, studies = prepare(source, tmp_path / "ignore", suspects="ignore_window")
    assert counts["window ignored"] == 2 and counts["range of the values taken"] == 1
    assert counts["suspects"] == 0 and all(study.values["a"].max() > 0.9 for study in studies)


def test_wrong_options():
    for name, value in (("multiple", "two"), ("views", {"x": "APP"})):
        with pytest.raises(ValueError, match=rf"options.{name}.* must be one of"):
            get_source("dicom")("x", {**OPTIONS, name: value}, "y")
    with pytest.raises(ValueError, match="distinct names"):
        get_source("dicom")("x", {**OPTIONS, "header": "a"}, "y")
