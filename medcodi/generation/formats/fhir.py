"""Format `fhir`: the DICOM study, and beside it one FHIR R4 bundle that refers to it.

    sample_00000/bundle.json    Patient, ImagingStudy, DiagnosticReport, one Observation a table
    cell
    sample_00000/*.dcm          as in `dicom`

Every resource carries the code HTEST, "test health data"
(terminology.hl7.org/CodeSystem/v3-ActReason), as tag, as HL7's own R4 examples do, and as security
label (hl7.org/fhir/R4/security-labels.html). Bundles are checked by fhir.resources before they are
written; its R4B classes describe these five resources as R4 (4.0.1) does.
"""

import base64
from pathlib import Path
from typing import Any

import pydicom
from fhir.resources.R4B.bundle import Bundle

from medcodi.data.storage import Storage
from medcodi.data.table import Column
from medcodi.generation.formats.base import NOT_CLINICAL, GeneratedStudy, Written, join
from medcodi.generation.formats.dicom import DicomFormat
from medcodi.modalities.base import Modality

HTEST = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
DCM = "http://dicom.nema.org/resources/ontology/DCM"
REPORT_CODE = {
    "system": "http://loinc.org",
    "code": "18748-4",
    "display": "Diagnostic imaging study",
}
BUNDLE = "bundle.json"

Resource = dict[str, Any]


class FhirFormat(DicomFormat):
    name = "fhir"

    def write(self, study: GeneratedStudy, folder: Path, parent: str) -> Written:
        written = super().write(study, folder, parent)
        path = join(parent, f"{study.stem}/{BUNDLE}")
        files = {
            name: folder / file for name, file in written.files.items() if file.endswith(".dcm")
        }
        bundle = Bundle.model_validate(self.bundle(study, files))
        (folder / path).write_text(
            bundle.model_dump_json(indent=1, exclude_none=True), encoding="utf-8"
        )
        written.files["bundle"] = path
        return written

    def bundle(self, study: GeneratedStudy, files: dict[str, Path]) -> Resource:
        """`files`: the DICOM files of the study by modality name."""
        patient = {
            "resourceType": "Patient",
            "active": False,
            "name": [{"family": "Synthetic", "text": NOT_CLINICAL}],
            "identifier": [
                {"system": "urn:medcodi:synthetic-patient", "value": self.patient_id(study)}
            ],
        }
        subject = {"reference": self._url(study, "Patient")}
        pictures = [m for m in self.modalities if m.storage == Storage.IMAGE and m.name in files]
        resources = {"Patient": patient}
        if pictures:
            resources["ImagingStudy"] = self.imaging_study(
                study, {m.name: files[m.name] for m in pictures}, subject
            )
        cells = {
            f"Observation/{m.name}/{column.name}": observation(
                m, column, study.stored[m.name].get(column.name), subject
            )
            for m in self.modalities
            if m.storage == Storage.TABLE
            for column in m.schema.columns
        }
        resources |= {key: cell for key, cell in cells.items() if cell is not None}
        for modality in self.modalities:
            if modality.storage == Storage.TEXT and study.stored[modality.name].strip():
                report = self.report(study.stored[modality.name].strip(), subject)
                links = {
                    "imagingStudy": ["ImagingStudy"] if pictures else [],
                    "result": [key for key in resources if key.startswith("Observation")],
                }
                report |= {
                    k: [{"reference": self._url(study, key)} for key in keys]
                    for k, keys in links.items()
                    if keys
                }
                resources[f"DiagnosticReport/{modality.name}"] = report
        meta = {"tag": [HTEST], "security": [HTEST]}
        return {
            "resourceType": "Bundle",
            "type": "collection",
            "meta": meta,
            "timestamp": f"{self.facts.created}T00:00:00Z",
            "identifier": {"system": "urn:ietf:rfc:3986", "value": self._url(study, "Bundle")},
            "entry": [
                {"fullUrl": self._url(study, key), "resource": {**resource, "meta": meta}}
                for key, resource in resources.items()
            ],
        }

    def _url(self, study: GeneratedStudy, key: str) -> str:
        return f"urn:uuid:{self.uuid(study, 'fhir', key)}"

    def imaging_study(
        self, study: GeneratedStudy, files: dict[str, Path], subject: Resource
    ) -> Resource:
        series = []
        for path in files.values():
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            instance = {
                "uid": ds.SOPInstanceUID,
                "number": int(ds.InstanceNumber),
                "sopClass": {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{ds.SOPClassUID}"},
            }
            series.append(
                {
                    "uid": ds.SeriesInstanceUID,
                    "number": int(ds.SeriesNumber),
                    "description": ds.SeriesDescription,
                    "modality": {"system": DCM, "code": ds.Modality},
                    "numberOfInstances": 1,
                    "instance": [instance],
                }
            )
        return {
            "resourceType": "ImagingStudy",
            "status": "available",
            "subject": subject,
            "started": self.facts.created,
            "identifier": [
                {"system": "urn:dicom:uid", "value": f"urn:oid:{self.uid(study, 'study')}"}
            ],
            "description": NOT_CLINICAL,
            "note": [{"text": self.derivation(study)}],
            "numberOfSeries": len(series),
            "numberOfInstances": len(series),
            "series": series,
        }

    def report(self, text: str, subject: Resource) -> Resource:
        form = {
            "contentType": "text/plain; charset=utf-8",
            "data": base64.b64encode(text.encode()).decode(),
        }
        return {
            "resourceType": "DiagnosticReport",
            "status": "unknown",
            "code": {"coding": [REPORT_CODE]},
            "subject": subject,
            "effectiveDateTime": self.facts.created,
            "conclusion": text,
            "presentedForm": [form],
        }


def observation(
    modality: Modality, column: Column, cell: Any, subject: Resource
) -> Resource | None:
    """One cell of a table; None where it is missing. A column has no code of a public terminology:
    its name is the text."""
    if cell is None:
        return None
    told = {
        "resourceType": "Observation",
        "status": "unknown",
        "subject": subject,
        "code": {
            "coding": [{"system": f"urn:medcodi:table:{modality.name}", "code": column.name}],
            "text": column.name,
        },
    }
    if not column.shows_number:
        return {**told, "valueString": str(column.show(cell))}
    quantity = {"value": cell} | ({"unit": column.unit} if column.unit else {})
    return {**told, "valueQuantity": quantity}
