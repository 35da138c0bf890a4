"""Source `mimic_cxr` on a miniature of the published folders, and the sections of reports."""

import csv
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources import get_source
from medcodi.sources.archive.hinted import HintedArchive
from medcodi.sources.mimic_cxr.prepare import MimicArchive, MimicOptions
from tests.sources.dicom_files import image, save
from tests.sources.mimic_tree import SIZE, STUDIES, dicom_id, folder, pixels, text, write_tree

OPTIONS = {"front": "frontal", "side": "lateral", "text": "report", "size": SIZE}
TRIPLETS = [50000001, 50000003, 50000006]


def prepare(source, out, reports=None, overwrite=False, **options):
    return get_source("mimic_cxr")(
        source, {**OPTIONS, **options}, out, reports, num_workers=2, overwrite=overwrite
    )


def by_text(out, *splits):
    studies = [study for split in splits or SPLITS for study in PreparedDataset.load(out, split)]
    return {study.values.get("report"): study for study in studies}


def notes(out):
    return json.loads((out / "prepared.json").read_text())["notes"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("mimic") / "release"
    write_tree(root)
    return root


@pytest.fixture(scope="module")
def triplets(source):
    out = source.with_name("triplets")
    return out, prepare(source, out)


def test_triplets_are_taken(triplets):
    out, counts = triplets
    found = by_text(out)
    assert set(found) == {text(study) for study in TRIPLETS}
    assert counts["studies"] == counts["reports"] == 3 and counts["images"] == 6
    assert all(set(study.values) == {"frontal", "lateral", "report"} for study in found.values())
    assert (
        counts["report from impression"]
        == counts["report from conclusion"]
        == counts["report from last paragraph"]
        == 1
    )


def test_pixels_keep_twelve_bits(triplets):
    found = by_text(triplets[0])
    for view, name in (("PA", "frontal"), ("LL", "lateral")):
        again = found[text(50000001)].values[name]
        assert np.abs(again - pixels(50000001, view, 12) / 4095).max() <= 1 / 65535


def test_the_first_frontal_of_two_is_taken(triplets):
    out, _ = triplets
    rows = list(csv.DictReader((out.with_name("triplets.private") / "rejects.csv").open()))
    second = [row for row in rows if "another image of this view" in row["reason"]]
    assert [row["path"].split("/")[-2] for row in second] == ["s50000003"]


def test_the_selection_is_counted(triplets):
    """By hand from STUDIES; the blank views are antero-posterior in the words of the metadata."""
    counts = notes(triplets[0])["selection"]
    assert counts["images"] == sum(len(views) for *_, views, _, _ in STUDIES) == 14
    assert [
        counts[key]
        for key in ("studies", "patients", "studies with an image", "studies with a report")
    ] == [7, 5, 7, 6]
    assert counts["studies with an impression"] == 5  # findings alone are none
    assert (
        counts["studies with a frontal image"] == 5
        and counts["studies with a lateral image too"] == 3
    )
    assert counts["patients with such a study"] == 3 and counts["images of such studies"] == 7
    # 10000003 has its lateral in a study without a report
    assert counts["patients with all three in some study"] == 4
    assert (
        counts["studies of these with report and image"] == 5
        and counts["one image a view of these"] == 8
    )


def test_by_patient_and_any(source):
    assert prepare(source, source.with_name("patient"), select="patient")["studies"] == 5
    counts = prepare(
        source, source.with_name("any"), select="any", text_sections=["impression", "findings"]
    )
    assert counts["studies"] == 7 and counts["report from findings"] == 2 and counts["reports"] == 5


def test_nobody_is_named(triplets):
    out, _ = triplets
    for path in [path for path in out.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        for patient, study, views, *_ in STUDIES:
            secrets = [
                f"p{patient}",
                f"s{study}",
                str(patient),
                *(dicom_id(study, n) for n in range(len(views))),
            ]
            assert not [secret for secret in secrets if secret.encode() in content]


def test_patients_stay_in_one_split(source):
    out = source.with_name("apart")
    get_source("mimic_cxr")(
        source, {**OPTIONS, "select": "any"}, out, num_workers=2, validation=0.3, test=0.3
    )
    patients = [
        {study.patient_id for study in PreparedDataset.load(out, split)} for split in SPLITS
    ]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 5


def test_the_official_split_and_labels(source):
    out = source.with_name("official")
    with pytest.raises(ValueError, match="the published split has its own shares"):
        options = {**OPTIONS, "official_split": True}
        get_source("mimic_cxr")(source, options, out, validation=0.2, test=0.1)
    counts = prepare(source, out, official_split=True, labels="findings")
    for split, studies in zip(SPLITS, ([50000001], [50000003], [50000006]), strict=True):
        assert set(by_text(out, split)) == {text(study) for study in studies}
    assert counts["findings"] == 3
    rows = {study: by_text(out)[text(study)].values["findings"] for study in TRIPLETS}
    assert rows[50000001] == {
        "Edema": "positive",
        "Pleural Effusion": "uncertain",
        "Pneumonia": "negative",
    }
    assert rows[50000006]["Pleural Effusion"] is None


def test_the_jpg_release(tmp_path):
    reports = write_tree(tmp_path / "jpg", jpg=True)
    with pytest.raises(FileNotFoundError, match=r"folder of reports .* does not exist"):
        prepare(tmp_path / "jpg", tmp_path / "out", tmp_path / "none")
    counts = prepare(tmp_path / "jpg", tmp_path / "out", reports)
    found = by_text(tmp_path / "out")
    assert set(found) == {text(study) for study in TRIPLETS} and counts["no DICOM file"] == 6
    again = found[text(50000001)].values["frontal"]
    assert np.abs(again - pixels(50000001, "PA", 8) / 255).mean() < 0.02  # JPEG at quality 95


def test_without_metadata_the_headers_say_the_view(tmp_path):
    write_tree(tmp_path / "s", metadata=False)
    counts = prepare(tmp_path / "s", tmp_path / "out")
    assert set(by_text(tmp_path / "out")) == {
        text(50000001),
        text(50000003),
    }  # 50000006 has a blank one
    assert counts["studies left incomplete"] == 2 and counts["view unknown"] == 2
    with pytest.raises(
        ValueError, match=r"no mimic-cxr-...-split.csv or .csv.gz: the official split"
    ):
        prepare(tmp_path / "s", tmp_path / "other", official_split=True)


def test_a_broken_image_costs_its_study_and_a_rerun_reads_what_is_new(tmp_path):
    write_tree(tmp_path / "s")
    broken = tmp_path / "s" / folder(10000001, 50000001) / f"{dicom_id(50000001, 1)}.dcm"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-200])
    counts = prepare(tmp_path / "s", tmp_path / "out")
    assert counts["studies"] == 2 and counts["studies left incomplete"] == 1
    rejects = (tmp_path / "out" / "rejects.csv").read_text()
    assert "truncated" in rejects and "the study is left without lateral" in rejects
    first = (tmp_path / "out" / "prepared.json").stat().st_mtime_ns
    prepare(tmp_path / "s", tmp_path / "out")
    assert (tmp_path / "out" / "prepared.json").stat().st_mtime_ns == first
    broken.write_bytes(whole)
    assert prepare(tmp_path / "s", tmp_path / "out")["studies"] == 3
    report = tmp_path / "s" / f"{folder(10000001, 50000001)}.txt"
    report.write_text("IMPRESSION: Another one.\n")
    prepare(tmp_path / "s", tmp_path / "out")
    assert "Another one." in by_text(tmp_path / "out")


def test_files_of_a_wrong_patient_and_links_are_listed(tmp_path):
    write_tree(tmp_path / "s")
    stray = tmp_path / "s" / "files/p10/p10000009/s50000001"
    save(image(pixels(1, "PA", 12)), stray / "x.dcm")
    (stray / "y.dcm").symlink_to(stray / "x.dcm")
    prepare(tmp_path / "s", tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out.private" / "rejects.csv").open()))
    reasons = {row["path"].split("/")[-1]: row["reason"] for row in rows}
    assert reasons["x.dcm"] == "the study has files of another patient"
    assert reasons["y.dcm"] == "a symbolic link is not followed"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"select": "patients"}, "did you mean 'patient'"),
        ({"text_sections": ["impresion"]}, "did you mean 'impression'"),
        ({"labels": "report"}, "the labels need a name of their own"),
    ],
)
def test_wrong_options(source, tmp_path, change, match):
    with pytest.raises(ValueError, match=match):
        prepare(source, tmp_path / "out", **change)


def test_wrong_tables(tmp_path):
    write_tree(tmp_path / "s", metadata=False)
    split = tmp_path / "s" / "mimic-cxr-2.0.0-split.csv"
    for content, match in (
        ("subject_id,splits\n1,train\n", "lacks the columns split; it has subject_id, splits"),
        (
            "subject_id,split\n1,training\n",
            "the split file names training, expected train, validate",
        ),
        (
            "subject_id,split\n1,train\n1,test\n",
            "1 patients of the split file are in two splits, e.g. 1",
        ),
    ):
        split.write_text(content)
        with pytest.raises(ValueError, match=match):
            prepare(tmp_path / "s", tmp_path / "out", official_split=True)
    (tmp_path / "s" / "mimic-cxr-2.1.0-metadata.csv").write_text("dicom_id,view\n")
    with pytest.raises(ValueError, match="lacks the columns ViewPosition"):
        prepare(tmp_path / "s", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no image in the published layout"):
        prepare(tmp_path / "empty", tmp_path / "out")


def test_a_worker_imports_little(source):
    """Its memory is limited, and there are many: torch, pandas and datasets stay out of it,
    whatever a job carries."""
    job = MimicArchive(source, source, MimicOptions("a", "b", "c"), b"k" * 16).job(1.0)
    path = next(iter(job.hints))
    sent = pickle.dumps((HintedArchive.task, job.for_file(path), path)).hex()
    code = (
        f"import pickle, sys; task, *rest = pickle.loads(bytes.fromhex({sent!r})); "
        "print(task(*rest).kind, *sys.modules)"
    )
    kind, *modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert (
        kind == "picture"
        and "pydicom" in modules
        and not {"torch", "pandas", "datasets"} & set(modules)
    )


def test_the_command(source, tmp_path):
    call = [
        "prepare",
        "mimic_cxr",
        str(source),
        "--output",
        str(tmp_path / "out"),
        "--reports",
        str(source),
        "--size",
        str(SIZE),
        "--num-workers",
        "1",
        "--validation",
        "0.3",
    ]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    index = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert index["notes"]["counts"]["studies"] == len(TRIPLETS) and index["validation"] == 0.3


def test_findings_and_impression_as_fields(source, triplets, tmp_path):
    """Beside the report, which stays what it was; a folder without them is prepared again."""
    counts = prepare(source, tmp_path / "out", keep_sections=True)
    found = by_text(tmp_path / "out")
    assert set(found) == set(by_text(triplets[0])) and counts["studies"] == 3
    named = ["report", "report_findings", "report_impression"]
    assert PreparedDataset.load(tmp_path / "out", "train", named).names == named
    sections = found[text(50000001)].values
    assert sections["report_impression"] == sections["report"]
    assert sum("report_findings" in study.values for study in found.values()) >= 1


def test_sections_are_joined(source, triplets, tmp_path):
    prepare(source, tmp_path / "out", keep_sections=True, text_sections=["both", "last paragraph"])
    for study in by_text(tmp_path / "out").values():
        parts = [study.values.get(f"report_{name}") for name in ("findings", "impression")]
        if any(parts):
            assert study.values["report"] == " ".join(part for part in parts if part)
