"""The oracle of phantom reports: reads back what `report.write_report` wrote.

A sentence is cut into clauses; each clause is read for the findings that it names.
"""

import re
from typing import Any

from medcodi.phantom.anatomy import NONE, SIDES, Patient, findings

UNSPECIFIED = "unspecified"
_CLAUSE = re.compile(r"\s*(?:,|\band\b|\bor\b|\bwith\b|(?=\bwithout\b))\s*")
_NEGATION = re.compile(r"\b(?:no|without|not|absent|negative for|free of|resolved)\b")
_SIZE = r"(?:small|tiny|trace|moderate|large|massive)"
_SIZE_WORDS = {"tiny": "small", "trace": "small", "massive": "large"}
_HEART = re.compile(
    r"cardiomegaly|\bheart (?:size|is|and mediastinum)\b|cardiac silhouette|enlarged heart"
)
_GRADE = re.compile(r"\b(mild|moderate|severe)")
_SIDE = re.compile(r"\b(left|right|bilateral)\b")
_LOBE = re.compile(r"\b(left|right) (upper|middle|lower)\b")
_PLEURAL_KEYS = ("effusion_left", "effusion_right", "pneumothorax")
_LUNG_KEYS = ("consolidation", "edema", "atelectasis", "nodule")
_DEVICE_WORDS = {
    "pacemaker": r"pacemaker|pacer",
    "central_line": r"central (?:venous )?(?:line|catheter)|jugular",
    "endotracheal_tube": r"endotracheal|et tube",
}


def read_report(text: str) -> dict[str, Any]:
    """What a report says: the keys of `anatomy.findings`, each with its value, or None where not
    mentioned.

    An absent finding is "none" (or False, or "normal" for `heart`). A finding that is named without
    the detail that its value needs, as a nodule without a lobe, is "unspecified"; an effusion
    without a side counts for both sides.
    """
    read: dict[str, Any] = dict.fromkeys(findings(Patient()))
    clear = False
    for sentence in re.split(r"[.!?;\n]+|\bbut\b", text.lower()):
        _read_heart(sentence, read)
        _read_effusion(sentence, read)
        negated = False
        for clause in _CLAUSE.split(sentence):
            negated = negated or bool(_NEGATION.search(clause))
            _read_clause(clause, negated, read)
        if re.search(r"\bpleural spaces?\b.*\bclear\b", sentence):
            read |= {key: NONE for key in _PLEURAL_KEYS if read[key] is None}
        clear = clear or bool(re.search(r"\blungs?\b.*\bclear\b|\bclear lungs?\b", sentence))
    if clear:
        read |= {key: NONE for key in _LUNG_KEYS if read[key] is None}
    return read


def _read_heart(sentence: str, read: dict[str, Any]) -> None:
    if not _HEART.search(sentence):
        return
    enlarged = re.search(r"enlarg|cardiomegaly", sentence)
    if enlarged and not _NEGATION.search(sentence[: enlarged.start()]):
        grade = _GRADE.search(sentence)
        read["heart"], read["cardiomegaly"] = (grade.group(1) if grade else UNSPECIFIED), True
    elif enlarged or re.search(r"normal|unremarkable|not enlarged", sentence):
        read["heart"], read["cardiomegaly"] = "normal", False


def _read_effusion(sentence: str, read: dict[str, Any]) -> None:
    """Effusions are read from whole sentences: their sizes and sides may be shared between
    clauses."""
    if "effusion" not in sentence:
        return
    # "no effusion", "effusion is not seen"; in "no edema and a small effusion" the size tells that
    # there is one.
    if re.search(
        rf"{_NEGATION.pattern}(?!.*\b{_SIZE}\b.*effusion).*effusion|effusions? (?:is|are) not",
        sentence,
    ):
        side = re.search(r"\b(left|right) (?:pleural )?effusion", sentence)
        for key in [side.group(1)] if side else SIDES:
            read[f"effusion_{key}"] = read[f"effusion_{key}"] or NONE
        return
    pairs = re.findall(rf"\b({_SIZE})(?:[ -]sized)?(?: on the)? (left|right|bilateral)\b", sentence)
    if not pairs:
        sides = (
            _SIDE.findall(sentence.split("effusion")[0]) or _SIDE.findall(sentence) or ["bilateral"]
        )
        sizes = re.findall(rf"\b{_SIZE}\b", sentence) or [UNSPECIFIED]
        pairs = [(sizes[0], side) for side in sides]
    for size, side in pairs:
        for key in SIDES if side == "bilateral" else (side,):
            read[f"effusion_{key}"] = _SIZE_WORDS.get(size, size)


def _read_clause(clause: str, negated: bool, read: dict[str, Any]) -> None:
    """Set the lung findings, pneumothorax and devices that a clause names."""
    side, lobe, grade = _SIDE.search(clause), _LOBE.search(clause), _GRADE.search(clause)
    one_side = side.group(1) if side and side.group(1) in SIDES else UNSPECIFIED
    place = f"{lobe.group(1)}_{lobe.group(2)}" if lobe else UNSPECIFIED
    behind = re.search(r"retrocardiac|behind the heart", clause)
    if re.search(r"consolidation|opacit|infiltrate", clause):
        _state(read, "consolidation", negated, "retrocardiac" if behind else place)
    if re.search(r"edema|congestion", clause):
        _state(read, "edema", negated, grade.group(1) if grade else UNSPECIFIED)
    if "atelecta" in clause:
        _state(read, "atelectasis", negated, one_side)
    if "nodul" in clause:
        _state(read, "nodule", negated, place)
    if "pneumothora" in clause:
        _state(read, "pneumothorax", negated, one_side)
    for key, words in _DEVICE_WORDS.items():
        if re.search(words, clause) or (negated and "devices" in clause):
            _state(read, key, negated, True, absent=False)


def _state(read: dict[str, Any], key: str, negated: bool, value: Any, absent: Any = NONE) -> None:
    """A positive statement stands against a negative one of the same finding, wherever they
    come."""
    if not negated:
        read[key] = value
    elif read[key] is None:
        read[key] = absent
