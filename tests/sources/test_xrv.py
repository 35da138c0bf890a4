"""torchxrayvision's classes as a source, on small images beside tables of their published form."""

import csv

import numpy as np
import pytest
from PIL import Image

from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources.dicom.view import View
from medcodi.sources.xrv import dataset_classes, open_dataset, prepare_xrv
from tests.sources.chexpert_tree import write_chexpert

pytest.importorskip("torchxrayvision")
HEAD = [
    "Image Index",
    "Finding Labels",
    "Follow-up #",
    "Patient ID",
    "Patient Age",
    "Patient Gender",
    "View Position",
]
ROWS = [
    ["00000001_000.png", "Cardiomegaly|Effusion", "0", "1", "58", "M", "PA"],
    ["00000001_001.png", "No Finding", "1", "1", "59", "M", "AP"],
    ["00000002_000.png", "Hernia", "0", "2", "414", "F", "PA"],
    ["00000003_000.png", "No Finding", "0", "3", "40", "F", "PA"],
    ["00000004_000.png", "No Finding", "0", "4", "40", "F", "PA"],
]


@pytest.fixture
def nih(tmp_path):
    """Folder of images and table: the image of the fourth row is damaged, that of the last is not
    there."""
    images = tmp_path / "images"
    images.mkdir()
    for number, row in enumerate(ROWS[:3]):
        grey = np.full((24, 16), 40 * number, np.uint8)
        Image.fromarray(grey).save(images / row[0])
    (images / ROWS[3][0]).write_bytes(b"not an image")
    table = tmp_path / "table.csv"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([HEAD, *ROWS])
    return images, table


def prepare(images, out, table):
    names = {View.FRONT: "frontal", View.SIDE: "lateral"}
    return prepare_xrv(
        "NIH_Dataset", images, out, names, "tabular", {"csvpath": str(table)}, size=16
    )


def read(folder):
    studies = []
    for split in SPLITS:
        data = PreparedDataset.load(folder, split)
        studies += data.batch(range(len(data)))
    return sorted(studies, key=lambda s: (s.patient_id, str(s.values["tabular"]["projection"])))


def test_images_rows_and_findings(nih, tmp_path):
    images, table = nih
    out = tmp_path / "out"
    counts = prepare(images, out, table)
    assert (counts["rows"], counts["studies"], counts["refused"]) == (5, 3, 2)
    second, first, third = read(out)
    assert [s.patient_id for s in (first, second, third)] == ["1", "1", "2"]
    row = first.values["tabular"]
    assert (row["age"], row["sex"], row["projection"]) == (58, "M", "PA")
    assert (row["Cardiomegaly"], row["Effusion"], row["Hernia"]) == ("yes", "yes", "no")
    assert second.values["tabular"]["projection"] == "AP"
    assert third.values["tabular"]["age"] is None  # 414 years
    image = third.values["frontal"]
    assert image.shape == (16, 16)
    assert image[:, 8] == pytest.approx(80 / 255, abs=1e-2)
    assert image[:, 0] == pytest.approx(0, abs=0.02)  # padded to a square
    rejects = (out / "rejects.csv").read_text()
    assert rejects.count("the image cannot be read") == 2
    assert "expected 0 to 120 years, got 414" in rejects


def test_chexpert_has_lateral_images(tmp_path):
    root = write_chexpert(tmp_path / "CHEXPERT")
    names = {View.FRONT: "frontal", View.SIDE: "lateral"}
    arguments = {"csvpath": str(root / "train.csv")}
    out = tmp_path / "out"
    counts = prepare_xrv("CheX_Dataset", root, out, names, "tabular", arguments, size=16)
    assert (counts["rows"], counts["studies"]) == (3, 3)
    views = sorted(({*s.values} - {"tabular"}).pop() for s in read(out))
    assert views == ["frontal", "frontal", "lateral"]
    rows = {s.patient_id: s.values["tabular"] for s in read(out)}
    assert rows["00002"]["Edema"] == "no" and rows["00001"]["Effusion"] is None


def test_a_part_of_the_table_gives_the_same_studies(nih, tmp_path):
    images, table = nih
    prepare(images, tmp_path / "all", table)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[3], lines[1]]) + "\n")
    prepare(images, tmp_path / "part", table)
    whole = {s.study_id for s in read(tmp_path / "all")}
    assert len(whole) == 3
    assert {s.study_id for s in read(tmp_path / "part")} < whole


def test_bad_input_is_named(nih, tmp_path):
    images, table = nih
    assert {"NIH_Dataset", "CheX_Dataset", "PC_Dataset", "MIMIC_Dataset"} <= set(dataset_classes())
    with pytest.raises(ValueError, match=r"unknown key 'NIH_Datset' .* did you mean 'NIH_Dataset'"):
        open_dataset("NIH_Datset", images, {})
    with pytest.raises(FileNotFoundError, match=r"csvpath=.*absent.csv does not exist"):
        open_dataset("NIH_Dataset", images, {"csvpath": str(tmp_path / "absent.csv")})
    with pytest.raises(FileNotFoundError, match=r"folder of images .* does not exist"):
        open_dataset("NIH_Dataset", tmp_path / "absent", {"csvpath": str(table)})
    with pytest.raises(ValueError, match="unknown key 'csv' in the arguments of NIH_Dataset"):
        open_dataset("NIH_Dataset", images, {"csv": str(table)})
    with pytest.raises(ValueError, match="MIMIC_Dataset also needs csvpath, metacsvpath"):
        open_dataset("MIMIC_Dataset", images, {})
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="NIH_Dataset could not read its tables"):
        open_dataset("NIH_Dataset", images, {"csvpath": str(table)})
