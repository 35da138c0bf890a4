"""The view is said by the attributes or unknown."""

import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from medcodi.sources.dicom.view import View, find_view


def header(**attributes):
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def view_code(code):
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return [item]


@pytest.mark.parametrize(
    "attributes, view, where",
    [
        ({"ViewPosition": "PA"}, View.FRONT, "ViewPosition"),
        ({"ViewPosition": "ap"}, View.FRONT, "ViewPosition"),
        ({"ViewPosition": "LL"}, View.SIDE, "ViewPosition"),
        ({"ViewPosition": "LATERAL"}, View.SIDE, "ViewPosition"),
        ({"ViewPosition": "LLO"}, View.UNKNOWN, "names neither"),
        ({"ViewPosition": "LLO", "SeriesDescription": "PA"}, View.UNKNOWN, "names neither"),
        ({"ViewPosition": "PA", "SeriesDescription": "LATERAL"}, View.FRONT, "ViewPosition"),
        (
            {"ViewCodeSequence": view_code(codes.cid4010.PosteroAnterior)},
            View.FRONT,
            "ViewCodeSequence",
        ),
        ({"ViewCodeSequence": view_code(codes.cid4010.LeftLateral)}, View.SIDE, "ViewCodeSequence"),
        ({"ViewCodeSequence": view_code(codes.cid4010.LeftOblique)}, View.UNKNOWN, "names neither"),
        ({"ViewPosition": "", "SeriesDescription": "Chest PA"}, View.FRONT, "SeriesDescription"),
        ({"SeriesDescription": "W Chest P.A."}, View.FRONT, "SeriesDescription"),
        ({"SeriesDescription": "chest_lat"}, View.SIDE, "SeriesDescription"),
        ({"SeriesDescription": "CHEST PA AND LATERAL"}, View.UNKNOWN, "do not say it"),
        (
            {"SeriesDescription": "CHEST PA/LAT", "PatientOrientation": ["P", "F"]},
            View.SIDE,
            "PatientOrientation",
        ),
        ({"SeriesDescription": "LATERAL DECUBITUS"}, View.UNKNOWN, "another projection"),
        ({"SeriesDescription": "PATIENT 17"}, View.UNKNOWN, "do not say it"),
        (
            {"SeriesDescription": "Chest", "PatientOrientation": ["L", "F"]},
            View.FRONT,
            "PatientOrientation",
        ),
        ({"PatientOrientation": ["P", "F"]}, View.SIDE, "PatientOrientation"),
        ({"PatientOrientation": ["L", "P"]}, View.UNKNOWN, "do not say it"),  # an axial slice
        ({"PatientOrientation": ["LA", "F"]}, View.UNKNOWN, "do not say it"),
        ({"PatientOrientation": ""}, View.UNKNOWN, "do not say it"),
        ({}, View.UNKNOWN, "do not say it"),
    ],
)
def test_view(attributes, view, where):
    seen = find_view(header(**attributes))
    assert seen.view is view and where in seen.where
    assert all(str(text).upper() in seen.said for text in attributes.values() if text == "Chest PA")


@pytest.mark.parametrize(
    "text, view, projection",
    [
        ("CHEST (PORTABLE AP)", View.FRONT, "AP"),
        ("CHEST (PA AND LAT)", View.UNKNOWN, ""),
        ("CHEST (SINGLE VIEW)", View.UNKNOWN, ""),
        ("XR CHEST 1 VIEW AP", View.FRONT, "AP"),
        ("Chest, frontal", View.FRONT, ""),
        ("THORAX P.A.", View.FRONT, "PA"),
        ("chest_a-p_supine", View.FRONT, "AP"),
        ("CHEST AP/PA", View.FRONT, ""),
        ("CHEST LEFT LATERAL", View.SIDE, "LL"),
        ("Thorax seitlich", View.SIDE, ""),
        ("BILATERAL DECUB CHEST", View.UNKNOWN, ""),
        ("CHEST PA WITH OBLIQUES", View.UNKNOWN, ""),
        ("PATIENT PAPERS APPLIED", View.UNKNOWN, ""),
    ],
)
@pytest.mark.parametrize(
    "keyword",
    ["SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription", "StudyDescription"],
)
def test_descriptions_of_the_procedure(keyword, text, view, projection):
    for blank in ("", "UNKNOWN", None):
        seen = find_view(header(**{keyword: text, "ViewPosition": blank}))
        assert (seen.view, seen.projection) == (view, projection), seen
        assert seen.said == f"{keyword}: {text.upper().replace('_', ' ')}"


def test_the_text_of_the_series_comes_before_that_of_the_study():
    texts = {"StudyDescription": "CHEST (PORTABLE AP)", "SeriesDescription": "lateral"}
    assert find_view(header(**texts)).view is View.SIDE
    coded = header(StudyDescription="CHEST", ProcedureCodeSequence=view_code(codes.cid4010.Frontal))
    coded.ProcedureCodeSequence[0].CodeMeaning = "Chest"
    assert find_view(coded).view is View.UNKNOWN
    coded.ProcedureCodeSequence[0].CodeMeaning = "Chest (Portable AP)"
    assert find_view(coded).projection == "AP"


@pytest.mark.parametrize(
    "position, projection",
    [("PA", "PA"), ("AP SUPINE", "AP"), ("PA ERECT", "PA"), ("LLAT", "LL"), ("LAT", "")],
)
def test_the_projection_is_kept(position, projection):
    assert find_view(header(ViewPosition=position)).projection == projection


def test_a_text_can_be_settled_by_an_option():
    ds = header(ViewPosition="XX", SeriesDescription="W033 Thorax")
    assert find_view(ds).view is View.UNKNOWN
    seen = find_view(ds, {"W033 THORAX": "PA"})
    assert (seen.view, seen.projection) == (View.FRONT, "PA") and "options" in seen.where
    assert find_view(header(ViewPosition="PA"), {"PA": "OTHER"}).view is View.UNKNOWN
