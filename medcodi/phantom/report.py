"""Reports of phantom patients: the grammar that writes them; `reading.py` reads them back.

A report has two to five sentences: heart, lungs, pleura, devices. Every positive finding is written
down; negative findings are written down or left out.
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
