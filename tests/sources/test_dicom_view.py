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
        ({"SeriesDescription": "CHEST PA AND LATERAL"}, View.UNKNOWN, "another projection"),
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
    found, source = find_view(header(**attributes))
    assert found is view and where in source
