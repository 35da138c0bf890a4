"""Which projection a radiograph shows, from its attributes. What they do not say is unknown:
nothing looks at pixels."""

import enum
import re

import pydicom
from pydicom.sr.codedict import codes


class View(enum.Enum):
    FRONT = "front"  # AP, PA
    SIDE = "side"  # LL, RL
    UNKNOWN = "unknown"


# ViewPosition (0018,5101): defined terms of PS3.3 C.8.7.1.1.1 (CR) and what scanners write beside
# them
POSITIONS = {
    **dict.fromkeys(("AP", "PA", "AP SUPINE", "AP ERECT", "PA ERECT"), View.FRONT),
    **dict.fromkeys(("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"), View.SIDE),
}
VIEW_CODES = {  # context group 4010, DX View
    **dict.fromkeys(
        (
            codes.cid4010.AnteroPosterior.value,
            codes.cid4010.PosteroAnterior.value,
            codes.cid4010.Frontal.value,
            "R-10206",
            "R-10214",
            "R-40888",
        ),
        View.FRONT,
    ),
    **dict.fromkeys(
        (
            codes.cid4010.LateralProjection.value,
            codes.cid4010.LeftLateral.value,
            codes.cid4010.RightLateral.value,
            "R-10236",
            "R-10232",
        ),
        View.SIDE,
    ),
}
OTHER_WORDS = re.compile(r"\b(OBL\w*|DECUB\w*|LORDOTIC|APICAL|LAO|RAO|LPO|RPO|LLD|RLD)\b")
FRONT_WORDS = re.compile(
    r"\b(PA|AP|P\.A\.?|A\.P\.?|FRONTAL|POSTERO-?ANTERIOR|ANTERO-?POSTERIOR)(?=\W|$)"
)
SIDE_WORDS = re.compile(r"\b(LAT|LATERAL|LL|RL|LLAT|RLAT)\b")


def find_view(ds: pydicom.Dataset) -> tuple[View, str]:
    """(view, where it was found), or (UNKNOWN, why). In this order: ViewPosition, ViewCodeSequence,
    SeriesDescription, PatientOrientation. A value that is present but names another projection
    (oblique, decubitus) ends the search."""
    position = _text(ds.get("ViewPosition"))
    if position:
        view = view_of_position(position)
        return (
            view,
            "ViewPosition" if view is not View.UNKNOWN else "ViewPosition names neither view",
        )
    code = _view_code(ds)
    if code:
        view = VIEW_CODES.get(code, View.UNKNOWN)
        return (
            view,
            "ViewCodeSequence"
            if view is not View.UNKNOWN
            else "ViewCodeSequence names neither view",
        )
    view = view_of_words(ds.get("SeriesDescription"))
    if view is not None:
        return (
            view,
            "SeriesDescription"
            if view is not View.UNKNOWN
            else "SeriesDescription names another projection",
        )
    view = view_of_orientation(ds.get("PatientOrientation"))
    if view is not View.UNKNOWN:
        return view, "PatientOrientation"
    return view, "no ViewPosition; SeriesDescription and PatientOrientation do not say it"


def _text(value: object) -> str:
    return " ".join(str(value or "").upper().replace("_", " ").split())


def _view_code(ds: pydicom.Dataset) -> str:
    items = ds.get("ViewCodeSequence")
    if not isinstance(items, pydicom.Sequence) or not items:
        return ""
    return _text(items[0].get("CodeValue"))


def view_of_position(value: object) -> View:
    """View that a value of ViewPosition means."""
    return POSITIONS.get(_text(value), View.UNKNOWN)


def view_of_words(value: object) -> View | None:
    """View that a description names; UNKNOWN for another or for both; None when it names none."""
    text = _text(value)
    front, side = bool(FRONT_WORDS.search(text)), bool(SIDE_WORDS.search(text))
    if OTHER_WORDS.search(text) or (front and side):
        return View.UNKNOWN
    if front or side:
        return View.FRONT if front else View.SIDE
    return None


def view_of_orientation(value: object) -> View:
    """Direction of the rows and of the columns: rows along left-right show the front, along
    anterior-posterior the side. Only upright images with single letters (PS3.3 C.7.6.1.1.1)."""
    if not isinstance(value, (list, pydicom.multival.MultiValue)) or len(value) != 2:
        return View.UNKNOWN
    row, column = _text(value[0]), _text(value[1])
    if column not in ("F", "H"):
        return View.UNKNOWN
    return {"L": View.FRONT, "R": View.FRONT, "A": View.SIDE, "P": View.SIDE}.get(row, View.UNKNOWN)
