"""Which projection a radiograph shows, from its attributes. What they do not say is unknown:
nothing looks at pixels."""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pydicom
from pydicom.sr.codedict import codes


class View(enum.Enum):
    FRONT = "front"  # AP, PA
    SIDE = "side"  # LL, RL
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Seen:
    """`projection`: AP, PA, LL, RL, or "" where only the view is known. `where`: the attribute that
    says it, or why none does; `said`: with the text that stands there (it may name people)."""

    view: View
    projection: str = ""
    where: str = ""
    said: str = ""


# What a view may be called by an option or a table; also the values of ViewPosition (0018,5101),
# PS3.3 C.8.7.1.1.1 (CR), and what scanners write beside them
POSITIONS = {
    "AP": (View.FRONT, "AP"),
    "PA": (View.FRONT, "PA"),
    "FRONT": (View.FRONT, ""),
    "FRONTAL": (View.FRONT, ""),
    "LL": (View.SIDE, "LL"),
    "RL": (View.SIDE, "RL"),
    "LLAT": (View.SIDE, "LL"),
    "RLAT": (View.SIDE, "RL"),
    "LAT": (View.SIDE, ""),
    "LATERAL": (View.SIDE, ""),
    "SIDE": (View.SIDE, ""),
    "OTHER": (View.UNKNOWN, ""),
}
BLANK = {"", "UNKNOWN", "UNSPECIFIED", "NONE", "NA", "N/A", "-", "--", "NULL"}
VIEW_CODES = {  # context group 4010, DX View
    codes.cid4010.AnteroPosterior.value: (View.FRONT, "AP"),
    codes.cid4010.PosteroAnterior.value: (View.FRONT, "PA"),
    codes.cid4010.Frontal.value: (View.FRONT, ""),
    "R-10206": (View.FRONT, "AP"),
    "R-10214": (View.FRONT, "PA"),
    "R-40888": (View.FRONT, ""),
    codes.cid4010.LateralProjection.value: (View.SIDE, ""),
    codes.cid4010.LeftLateral.value: (View.SIDE, "LL"),
    codes.cid4010.RightLateral.value: (View.SIDE, "RL"),
    "R-10236": (View.SIDE, "LL"),
    "R-10232": (View.SIDE, "RL"),
}
# Of one image or series, then of the whole procedure
TEXTS = (
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
    "StudyDescription",
)
OTHER_WORDS = re.compile(r"\b(OBL\w*|DECUB\w*|LORDOTIC|APICAL|LAO|RAO|LPO|RPO|LLO|RLO|LLD|RLD)\b")
FRONT_WORDS = {
    "AP": re.compile(r"\b(AP|A\.P\.?|A[-/]P|ANTERO-? ?POSTERIOR)(?=\W|$)"),
    "PA": re.compile(r"\b(PA|P\.A\.?|P[-/]A|POSTERO-? ?ANTERIOR)(?=\W|$)"),
    "": re.compile(r"\bFRONTAL\b"),
}
SIDE_WORDS = {
    "LL": re.compile(r"\b(LL|LLAT|L LAT|L LATERAL|LEFT LAT|LEFT LATERAL)\b"),
    "RL": re.compile(r"\b(RL|RLAT|R LAT|R LATERAL|RIGHT LAT|RIGHT LATERAL)\b"),
    "": re.compile(r"\b(LAT|LATERAL|SEITLICH|PROFIL)\b"),
}


def find_view(ds: pydicom.Dataset, settled: Mapping[str, str] | None = None) -> Seen:
    """What says it first, in this order: a text that `settled` (upper case -> a key of POSITIONS)
    decides, ViewPosition, ViewCodeSequence, the descriptions of series, protocol, procedure and
    study, PatientOrientation. A value that names another projection (oblique, decubitus) ends the
    search; a description that names both views is one of the whole procedure and says nothing of
    this image."""
    texts = {keyword: _text(ds.get(keyword)) for keyword in ("ViewPosition", *TEXTS)}
    texts |= {"ProcedureCodeSequence": _meaning(ds.get("ProcedureCodeSequence"))}
    present = {keyword: text for keyword, text in texts.items() if text not in BLANK}
    for keyword, text in present.items():
        if settled and text in settled:
            view, projection = POSITIONS[settled[text]]
            where = f"{keyword}, as the options say"
            return Seen(view, projection, where, f"{keyword}: {text}")
    position = present.pop("ViewPosition", "")
    if position:
        seen = view_of_position(position) or (View.UNKNOWN, "")
        return _told(seen, "ViewPosition", position, "names neither view")
    code = _view_code(ds)
    if code:
        seen = VIEW_CODES.get(code, (View.UNKNOWN, ""))
        return _told(seen, "ViewCodeSequence", code, "names neither view")
    for keyword, text in present.items():
        seen = view_of_words(text)
        if seen is not None:
            return _told(seen, keyword, text, "names another projection")
    view, direction = view_of_orientation(ds.get("PatientOrientation"))
    if view is not View.UNKNOWN:
        return Seen(view, "", "PatientOrientation", f"PatientOrientation: {direction}")
    said = "; ".join(f"{keyword}: {text}" for keyword, text in present.items())
    why = "no ViewPosition; descriptions and PatientOrientation do not say it"
    return Seen(View.UNKNOWN, "", why, said or "no text at all")


def _told(seen: tuple[View, str], keyword: str, text: str, otherwise: str) -> Seen:
    where = f"{keyword} {otherwise}" if seen[0] is View.UNKNOWN else keyword
    return Seen(*seen, where, f"{keyword}: {text}")


def _text(value: object) -> str:
    return " ".join(str(value or "").upper().replace("_", " ").split())


def _first(value: object) -> pydicom.Dataset | None:
    return value[0] if isinstance(value, pydicom.Sequence) and value else None


def _meaning(value: object) -> str:
    item = _first(value)
    return _text(item.get("CodeMeaning")) if item is not None else ""


def _view_code(ds: pydicom.Dataset) -> str:
    item = _first(ds.get("ViewCodeSequence"))
    return _text(item.get("CodeValue")) if item is not None else ""


def view_of_position(value: object) -> tuple[View, str] | None:
    """(view, projection) that a value of ViewPosition means, with words beside it (AP SUPINE);
    None where it names neither."""
    text = _text(value)
    return POSITIONS.get(text) or view_of_words(text)


def view_of_words(value: object) -> tuple[View, str] | None:
    """(view, projection) that a description names; UNKNOWN for another projection; None when it
    names none, or both views."""
    text = _text(value)
    if OTHER_WORDS.search(text):
        return View.UNKNOWN, ""
    front, side = (
        [name for name, words in table.items() if words.search(text)]
        for table in (FRONT_WORDS, SIDE_WORDS)
    )
    if bool(front) == bool(side):
        return None
    named = [name for name in front or side if name]
    return (View.FRONT if front else View.SIDE), named[0] if len(named) == 1 else ""


def view_of_orientation(value: object) -> tuple[View, str]:
    """(view, the two directions) of the rows and of the columns: rows along left-right show the
    front, along anterior-posterior the side. Only upright images with single letters (PS3.3
    C.7.6.1.1.1)."""
    if not isinstance(value, (list, pydicom.multival.MultiValue)) or len(value) != 2:
        return View.UNKNOWN, ""
    row, column = _text(value[0]), _text(value[1])
    if column not in ("F", "H"):
        return View.UNKNOWN, ""
    views = {"L": View.FRONT, "R": View.FRONT, "A": View.SIDE, "P": View.SIDE}
    return views.get(row, View.UNKNOWN), f"{row}\\{column}"
