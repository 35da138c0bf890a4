"""Source `openi`: the reports inside the installed torchxrayvision. Counts and hashes only: no text
of it stands here."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources import get_source
from medcodi.sources.dicom.view import view_of_position
from medcodi.sources.findings import FINDINGS
from medcodi.sources.openi_files import REPORTS, installed_data, read_reports, read_views
from tests.sources.dicom_files import image, ramp, save

OPTIONS = {"front": "frontal", "side": "lateral", "text": "report", "size": 16}


@pytest.fixture(scope="module")
def data():
    try:
        folder = installed_data()
    except RuntimeError as error:
        pytest.skip(str(error))
    if not (folder / REPORTS).is_file():
        pytest.skip(f"the installed torchxrayvision has no {REPORTS}")
    return folder


@pytest.fixture(scope="module")
def reports(data):
    return read_reports(data / REPORTS)[0]


@pytest.fixture(scope="module")
def texts_only(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("openi") / "out"
    return out, get_source("openi")(None, OPTIONS | {"mesh": "mesh"}, out)


def side(name):
    seen = view_of_position(name)
    return seen[0].value if seen else ""


def studies(out):
    return [study for split in SPLITS for study in PreparedDataset.load(out, split)]


def test_all_reports_are_read(reports):
    assert len(reports) == 3955 and sum(len(report.images) for report in reports.values()) == 7470
    having = Counter(label for report in reports.values() for label in report.report.sections)
    assert (having["impression"], having["findings"]) == (3916, 3424)
    assert list(reports)[:2] == ["CXR1", "CXR2"] and list(reports)[-1] == "CXR3999"


def test_the_texts_are_those_of_the_files(reports):
    joined = "\n".join(f"{uid} {report.text('both').text}" for uid, report in reports.items())
    assert (
        hashlib.sha256(joined.encode()).hexdigest()
        == "a7ac845d6d34c76c50d4502e859d3991c8048b7a85c70bcf8c5b93deb734004b"
    )


def test_texts_alone(texts_only, reports):
    out, counts = texts_only
    assert counts["reports"] == 3921 and counts["images"] == counts["files"] == 0
    found = {study.study_id: study for study in studies(out)}
    assert found["CXR1"].values["report"] == reports["CXR1"].text("impression").text
    assert set(found["CXR1"].values) == {"report", "mesh"} and found["CXR1"].patient_id == "CXR1"
    assert counts["studies"] == len(found) and not (out / "images").exists()


def test_mesh_terms(texts_only, reports):
    out, _ = texts_only
    (spec,) = PreparedDataset.load(out, "train").schemas.values()
    counts = Counter(term for report in reports.values() for term in report.terms)
    assert (
        spec.names == sorted(term for term, number in counts.items() if number >= 40)
        and len(spec.names) == 41
    )
    rows = [study.values["mesh"] for study in studies(out) if "mesh" in study.values]
    assert sum(row["normal"] == "present" for row in rows) == counts["normal"] == 1391


def test_views_of_the_headers(data):
    views, derived = read_views(data, False), read_views(data, True)
    assert (len(views), len(derived)) == (4883, 6267)
    assert {name: derived[name] for name in views} == views  # what a header says stands


def test_images_join_their_reports(data, reports, tmp_path):
    views = read_views(data, False)
    complete = [
        uid
        for uid, report in reports.items()
        if sorted(side(views.get(name, "")) for name in report.images) == ["front", "side"]
        and report.text("impression").text
    ]
    first, second = complete[:2]
    greys = np.linspace(0, 255, 256).reshape(16, 16).astype(np.uint8)
    for name in reports[first].images:
        Image.fromarray(greys if side(views[name]) == "front" else greys[::-1]).save(
            tmp_path / f"{name}.png"
        )
    for name in reports[second].images:  # as in the DICOM release: no letters, and headers
        save(
            image(ramp(16, 16), ViewPosition=None),
            tmp_path / second[3:] / f"{name.removeprefix('CXR')}.dcm",
        )
    Image.fromarray(greys).save(tmp_path / "CXR0_0.png")
    (tmp_path / "notes.md").write_text("no image")
    blank = next(name for report in reports.values() for name in report.images if name not in views)
    Image.fromarray(greys).save(tmp_path / f"{blank}.png")
    out = tmp_path.with_name(f"{tmp_path.name}_out")
    counts = get_source("openi")(tmp_path, OPTIONS, out, num_workers=1)
    assert counts["images"] == 4 and counts["no DICOM file"] == 2 and counts["rejected files"] == 3
    found = {study.study_id: study.values for study in studies(out)}
    np.testing.assert_allclose(found[first]["frontal"], greys / 255, atol=1e-4)
    np.testing.assert_allclose(found[first]["lateral"], greys[::-1] / 255, atol=1e-4)
    np.testing.assert_allclose(found[second]["frontal"], ramp(16, 16) / 4095, atol=1e-4)
    rejects = (out / "rejects.csv").read_text()
    for reason in (
        "no report names this image",
        "the view is unknown",
        "not an image of the collection",
    ):
        assert reason in rejects


def test_the_command(data, tmp_path):
    call = [
        "prepare",
        "openi",
        "--output",
        str(tmp_path / "out"),
        "--texts",
        "findings",
        "--validation",
        "0.2",
    ]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    index = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert index["notes"]["counts"]["reports"] == 3424 and index["validation"] == 0.2


def test_gold_findings_become_a_table(data, tmp_path):
    names = [*FINDINGS, "normal"]
    rows = {"CXR1": {"normal"}, "CXR2": {"Effusion", "Mass"}, "CXR999999": {"Edema"}}
    lines = [",".join(["filename", *names])]
    lines += [",".join([uid, *("01"[n in has] for n in names)]) for uid, has in rows.items()]
    gold = tmp_path / "gold.csv"
    gold.write_text("\n".join(lines) + "\n")
    options = OPTIONS | {"findings": "row"}
    counts = get_source("openi")(None, options, tmp_path / "out", gold_file=gold)
    assert counts["gold rows"] == 2
    found = {s.study_id: s.values["row"] for s in studies(tmp_path / "out") if "row" in s.values}
    assert {n for n, cell in found["CXR2"].items() if cell == "yes"} == {"Effusion", "Mass"}
    assert found["CXR1"]["No_Finding"] == "yes" and found["CXR1"]["Mass"] == "no"
    with pytest.raises(ValueError, match="need both the file and the name"):
        get_source("openi")(None, OPTIONS, tmp_path / "out2", gold_file=gold)
    for text, told in ((lines[1].replace("0", "2", 1), "got '2'"), (lines[1], "stands twice")):
        gold.write_text("\n".join([*lines[:2], text]))
        with pytest.raises(ValueError, match=told):
            get_source("openi")(None, options, tmp_path / "out2", gold_file=gold)


def test_wrong_input(tmp_path, data):
    with pytest.raises(ValueError, match="min_reports belongs to the table of MeSH terms"):
        get_source("openi")(None, OPTIONS | {"mesh": "", "min_reports": 3}, tmp_path / "out")
    with pytest.raises(ValueError, match="did you mean 'impression'"):
        get_source("openi")(None, OPTIONS | {"texts": "impresion"}, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"NLMCXR_reports.tgz does not exist"):
        get_source("openi")(None, OPTIONS, tmp_path / "out", data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"source folder .* does not exist"):
        get_source("openi")(tmp_path / "none", OPTIONS, tmp_path / "out")


def test_findings_and_impression_as_fields(data, reports, tmp_path):
    get_source("openi")(None, OPTIONS | {"keep_sections": True}, tmp_path / "out")
    found = {study.study_id: study.values for study in studies(tmp_path / "out")}
    counts = Counter(name for values in found.values() for name in values)
    held = Counter(label for report in reports.values() for label in report.report.sections)
    assert counts["report_findings"] == held["findings"]
    assert counts["report_impression"] == held["impression"]
    assert found["CXR1"]["report_findings"] == reports["CXR1"].text("findings").text
