"""Reports of phantom patients: a grammar that writes them and an oracle that reads them back.

A report has two to five sentences: heart, lungs, pleura, devices. Every positive finding is written
down; negative findings are written down or left out. `read_report` gives what is stated, None for
what is not mentioned.
"""

import re
from typing import Any

import numpy as np

from medcodi.phantom.anatomy import NONE, SIDES, Patient, findings

NORMAL_REPORTS = (
    "The heart is normal in size. The lungs are clear. No pleural effusion or pneumothorax.",
    "Heart size is normal. The lungs are clear. There is no pleural effusion or pneumothorax.",
    "The cardiac silhouette is within normal limits. The lungs are clear without focal "
    "consolidation. "
    "No pleural effusion or pneumothorax. No acute cardiopulmonary abnormality.",
    "Heart size is normal. No focal consolidation, edema or nodule. No pleural effusion or "
    "pneumothorax.",
    "The heart and mediastinum are normal. The lungs are clear. No acute cardiopulmonary process.",
)
_NORMAL_HEART = (
    "The heart is normal in size.",
    "Heart size is normal and the mediastinal contours are unremarkable.",
    "The cardiac silhouette is within normal limits.",
    "The heart and mediastinum are normal.",
    "The cardiac silhouette is normal in size and contour.",
)
_LARGE_HEART = (
    "The heart is {grade}ly enlarged.",
    "The cardiac silhouette is {grade}ly enlarged with normal mediastinal contours.",
    "There is {grade} cardiomegaly.",
    "There is {grade} enlargement of the cardiac silhouette.",
)
_CLEAR = (
    "The lungs are clear.",
    "The lungs are clear without focal consolidation.",
    "No focal consolidation, edema or nodule.",
    "Both lungs are well expanded and clear.",
    "The lungs are clear with no evidence of focal consolidation or pulmonary edema.",
)
_DEVICES = {
    "pacemaker": (
        "left pacemaker with lead in the right ventricle",
        "left pacemaker",
        "left chest wall pacemaker",
    ),
    "central_line": (
        "right internal jugular central line",
        "right central line",
        "right central venous catheter",
    ),
    "endotracheal_tube": ("endotracheal tube",),
}
_IMPRESSIONS = {
    "normal": ("No acute cardiopulmonary abnormality.", "No acute cardiopulmonary process."),
    "edema": (
        "The findings suggest fluid overload.",
        "The findings suggest congestive heart failure.",
    ),
    "consolidation": (
        "This may represent pneumonia in the proper clinical setting.",
        "Recommend follow up imaging.",
    ),
    "other": (
        "Clinical correlation is recommended.",
        "The upper abdomen is unremarkable.",
        "The bones are intact.",
    ),
}
_MAX_SENTENCES = 5
_SPARE = (
    "No pneumothorax.",
    "There is no pneumothorax.",
    "The lungs are otherwise clear.",
)  # left out of long reports


def write_report(patient: Patient, rng: np.random.Generator) -> str:
    """A report of two to five sentences, about 10 to 60 words, that agrees with
    `findings(patient)`."""
    found = findings(patient)
    normal = all(value in (NONE, "normal", False) for value in found.values())
    if normal and rng.random() < 0.7:
        return _pick(NORMAL_REPORTS, rng)
    heart, lungs, pleura = _heart(found, rng), _lungs(found, rng), _pleura(found, rng)
    devices = _device_sentence(found, rng)
    parts = [heart, pleura, lungs] if rng.random() < 0.12 else [heart, lungs, pleura]
    if devices:
        parts.insert(0 if rng.random() < 0.2 else len(parts), devices)
    sentences = [sentence + "." for sentence in " ".join(parts).rstrip(".").split(". ")]
    while len(sentences) > _MAX_SENTENCES and (spare := [s for s in sentences if s in _SPARE]):
        sentences.remove(spare[0])
    if len(sentences) < _MAX_SENTENCES and rng.random() < 0.6:
        sentences.append(_impression(found, normal, rng))
    return " ".join(sentences)


def _impression(found: dict[str, Any], normal: bool, rng: np.random.Generator) -> str:
    """A last sentence that states no further finding."""
    kinds = [key for key in ("edema", "consolidation") if found[key] != NONE]
    return _pick(
        _IMPRESSIONS["normal" if normal else kinds[0] if kinds and rng.random() < 0.7 else "other"],
        rng,
    )


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    """One option; the first ones are the common ones."""
    weights = 0.6 ** np.arange(len(options))
    return options[rng.choice(len(options), p=weights / weights.sum())]


def _sentence(phrase: str) -> str:
    return phrase[0].upper() + phrase[1:] + "."


def _without_article(phrase: str) -> str:
    return re.sub(r"^an? ", "", phrase)


def _heart(found: dict[str, Any], rng: np.random.Generator) -> str:
    if found["heart"] == "normal":
        return _pick(_NORMAL_HEART, rng)
    return _pick(_LARGE_HEART, rng).format(grade=found["heart"])


def _lung_phrases(found: dict[str, Any], rng: np.random.Generator) -> list[str]:
    """One noun phrase, with its article, for each positive finding of the lungs."""
    phrases = []
    hedge = _pick(("possible ", "probable "), rng) if rng.random() < 0.2 else ""
    site = found["consolidation"]
    if site == "retrocardiac":
        options = (
            "retrocardiac consolidation",
            "retrocardiac opacity",
            "consolidation behind the heart",
        )
        phrases.append(hedge + _pick(options, rng))
    elif site != NONE:
        lobe = site.replace("_", " ") + " lobe"
        options = (
            f"consolidation in the {lobe}",
            f"{lobe} consolidation",
            f"airspace opacity in the {lobe}",
        )
        phrases.append(hedge + _pick(options, rng))
    if found["edema"] != NONE:
        options = ("{} pulmonary edema", "{} interstitial edema", "perihilar haze from {} edema")
        phrases.append(_pick(options, rng).format(found["edema"]))
    if (side := found["atelectasis"]) != NONE:
        name = f"{side} basilar atelectasis"
        options = (name, f"possible {name}", f"atelectasis at the {side} base")
        phrases.append(_pick(options, rng))
    if found["nodule"] != NONE:
        lobe = found["nodule"].replace("_", " ") + " lobe"
        phrases.append(_pick((f"a nodule in the {lobe}", f"a {lobe} nodule"), rng))
    return phrases


def _lungs(found: dict[str, Any], rng: np.random.Generator) -> str:
    phrases = _lung_phrases(found, rng)
    if not phrases:
        return _pick(_CLEAR, rng)
    sentences = []
    for first in range(0, len(phrases), 2):
        pair = phrases[first : first + 2]
        if rng.random() < 0.5:
            sentences.append(f"There is {' and '.join(pair)}.")
        elif len(pair) == 1 and rng.random() < 0.3:
            sentences.append(_sentence(f"{pair[0]} is seen"))
        else:
            sentences.append(_sentence(" and ".join([_without_article(pair[0]), *pair[1:]])))
    if len(sentences) == 1 and rng.random() < 0.55:
        absent = {
            "consolidation": "focal consolidation",
            "edema": "pulmonary edema",
            "nodule": "nodule",
        }
        names = [name for key, name in absent.items() if found[key] == NONE]
        if names and rng.random() < 0.5:
            sentences.append(f"No {' or '.join(names[:2])}.")
        else:
            sentences.append("The lungs are otherwise clear.")
    return " ".join(sentences)


def _effusion_phrase(found: dict[str, Any], rng: np.random.Generator) -> str:
    """Noun phrase of the effusions, plural where there are two; empty where there is none."""
    sizes = {side: found[f"effusion_{side}"] for side in SIDES}
    wet = [side for side in SIDES if sizes[side] != NONE]
    if not wet:
        return ""
    if len(wet) == 1:
        return f"a {sizes[wet[0]]} {wet[0]} pleural effusion"
    left, right = sizes["left"], sizes["right"]
    if left == right:
        return f"{left} bilateral pleural effusions"
    if rng.random() < 0.6:
        return f"bilateral pleural effusions, {left} on the left and {right} on the right"
    return f"{left} left and {right} right pleural effusions"


def _pleura(found: dict[str, Any], rng: np.random.Generator) -> str:
    effusion, side = _effusion_phrase(found, rng), found["pneumothorax"]
    air = f"a {side} {_pick(('', 'apical '), rng)}pneumothorax" if side != NONE else ""
    if effusion and air:
        return _sentence(f"{_without_article(effusion)} with {air}")
    if effusion:
        opening = "there are" if "effusions" in effusion else "there is"
        sentence = f"{opening} {effusion}" if rng.random() < 0.5 else _without_article(effusion)
        return _sentence(sentence) + _pick(
            (" No pneumothorax.", "", " There is no pneumothorax."), rng
        )
    if air:
        sentence = f"there is {air}" if rng.random() < 0.5 else _without_article(air)
        return _sentence(sentence + _pick((" without pleural effusion", ""), rng))
    options = (
        "there is no pleural effusion or pneumothorax",
        "no pleural effusion or pneumothorax",
        "no evidence of pleural effusion or pneumothorax",
        "the pleural spaces are clear",
    )
    return _sentence(_pick(options, rng))


def _device_sentence(found: dict[str, Any], rng: np.random.Generator) -> str:
    devices = [_pick(options, rng) for key, options in _DEVICES.items() if found[key]]
    if not devices:
        return "No support devices." if rng.random() < 0.04 else ""
    if len(devices) > 1:
        return _sentence(f"{', '.join(devices[:-1])} and {devices[-1]} are in place")
    if rng.random() < 0.3:
        return _sentence(f"there is {'an' if devices[0][0] == 'e' else 'a'} {devices[0]}")
    return _sentence(f"{devices[0]} {_pick(('is in place', 'is in standard position'), rng)}")


# Reading. A sentence is cut into clauses; each clause is read for the findings that it names.

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
