"""Format `fhir`: bundles that fhir.resources accepts, that refer to the DICOM files beside them,
marked as test data."""

import base64
import json

import pydicom
import pytest

pytest.importorskip(
    "fhir.resources", reason="fhir.resources is not installed: pip install 'medcodi[fhir]'"
)
from fhir.resources.R4B.bundle import Bundle

from tests.generation.studies import (
    make_format,
    phantom_family,
    phantom_studies,
    phantom_values,
    write_all,
)

SIZE = 16


@pytest.fixture(scope="module")
def values():
    values = phantom_values(2, SIZE)
    values[1]["report"] = " "
    values[1]["tabular"] = values[1]["tabular"] | {"heart_rate": None}
    return values


@pytest.fixture(scope="module")
def folder(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fhir")
    assert write_all(folder, "fhir", values, SIZE)[0].files["bundle"] == "sample_00000/bundle.json"
    return folder


def bundle(folder, i):
    return json.loads((folder / f"sample_{i:05d}" / "bundle.json").read_text())


def resources(folder, i, kind):
    return [
        e["resource"] for e in bundle(folder, i)["entry"] if e["resource"]["resourceType"] == kind
    ]


def test_valid_and_whole(folder, values):
    for i, stored in enumerate(values):
        read = Bundle.model_validate(bundle(folder, i))
        kinds = [type(entry.resource).__name__ for entry in read.entry]
        assert kinds[:2] == ["Patient", "ImagingStudy"]
        assert kinds.count("Observation") == sum(
            cell is not None for cell in stored["tabular"].values()
        )
        assert kinds.count("DiagnosticReport") == (1 if stored["report"].strip() else 0)


def test_everything_is_marked_as_test_data(folder):
    marked = [bundle(folder, 0), *[e["resource"] for e in bundle(folder, 0)["entry"]]]
    for resource in marked:
        for label in ("tag", "security"):
            (code,) = resource["meta"][label]
            assert code["code"] == "HTEST" and code["system"].endswith("/CodeSystem/v3-ActReason")


def test_references_lead_somewhere(folder):
    for i in range(2):
        urls = [entry["fullUrl"] for entry in bundle(folder, i)["entry"]]
        assert len(set(urls)) == len(urls)
        text = json.dumps(bundle(folder, i))
        references = [part.split('"')[0] for part in text.split('"reference": "')[1:]]
        assert references and set(references) <= set(urls)


def test_refers_to_the_dicom_files(folder):
    (study,) = resources(folder, 0, "ImagingStudy")
    files = {
        name: pydicom.dcmread(folder / "sample_00000" / f"{name}.dcm")
        for name in ("frontal", "lateral")
    }
    assert study["identifier"][0]["value"] == f"urn:oid:{files['frontal'].StudyInstanceUID}"
    assert [s["uid"] for s in study["series"]] == [f.SeriesInstanceUID for f in files.values()]
    assert [s["instance"][0]["uid"] for s in study["series"]] == [
        f.SOPInstanceUID for f in files.values()
    ]
    (patient,) = resources(folder, 0, "Patient")
    assert patient["identifier"][0]["value"] == files["frontal"].PatientID


def test_report_and_cells(folder, values):
    (report,) = resources(folder, 0, "DiagnosticReport")
    assert report["conclusion"] == values[0]["report"].strip()
    assert (
        base64.b64decode(report["presentedForm"][0]["data"]).decode() == values[0]["report"].strip()
    )
    assert len(report["result"]) == len(resources(folder, 0, "Observation"))
    cells = {
        o["code"]["text"]: o.get("valueString", o.get("valueQuantity", {}).get("value"))
        for o in resources(folder, 0, "Observation")
    }
    for name, cell in values[0]["tabular"].items():
        if cell is not None:
            assert cells[name] == cell
    assert "heart_rate" not in {o["code"]["text"] for o in resources(folder, 1, "Observation")}


def test_a_bundle_that_does_not_conform_is_not_written(values, tmp_path, monkeypatch):
    family = phantom_family(phantom_values(3, SIZE), SIZE)
    writer = make_format("fhir", family)
    right = writer.bundle
    monkeypatch.setattr(writer, "bundle", lambda study, files: right(study, files) | {"type": 5})
    (study, _) = phantom_studies(family, values)
    with pytest.raises(ValueError, match="type"):
        writer.write(study, tmp_path, "")
    assert not list(tmp_path.rglob("bundle.json"))


def test_pictures_alone_or_text_alone(values, tmp_path):
    family = phantom_family(phantom_values(3, SIZE), SIZE)
    (study, _) = phantom_studies(family, values)
    for names, kinds in (
        (("frontal",), {"Patient", "ImagingStudy"}),
        (("report",), {"Patient", "DiagnosticReport"}),
    ):
        writer = make_format("fhir", family, names=names)
        (tmp_path / names[0]).mkdir()
        writer.write(study, tmp_path, names[0])
        told = json.loads((tmp_path / names[0] / "sample_00000" / "bundle.json").read_text())
        assert {e["resource"]["resourceType"] for e in told["entry"]} == kinds
