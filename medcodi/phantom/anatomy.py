"""Who is imaged: one phantom patient (anatomy, findings, devices) and the distribution that
patients are drawn from.

Sides are the patient's own. x points to the patient's left (image right on the frontal view), y
backwards, z down.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

NONE = "none"
SIDES = ("left", "right")
SEVERITIES = ("mild", "moderate", "severe")
CONSOLIDATION_SITES = (
    "right_upper",
    "right_middle",
    "right_lower",
    "left_upper",
    "left_lower",
    "retrocardiac",
)
NODULE_SITES = ("right_upper", "right_lower", "left_upper", "left_lower")
CARDIOMEGALY_RATIO = 0.5
# Upper limits of the grades; the last grade is open.
HEART_GRADES = (
    (CARDIOMEGALY_RATIO, "normal"),
    (0.55, "mild"),
    (0.60, "moderate"),
    (math.inf, "severe"),
)
EFFUSION_GRADES = ((0.0, NONE), (0.35, "small"), (0.65, "moderate"), (math.inf, "large"))
EDEMA_GRADES = ((0.0, NONE), (0.45, "mild"), (0.7, "moderate"), (math.inf, "severe"))

# The seed of a draw is (seed, index, purpose): a study's report never depends on how its anatomy
# was drawn.
_PURPOSES = {"anatomy": 1, "report": 2, "table": 3, "absence": 4}


_LASTING = ("sex", "age", "body_size", "habitus", "depth", "cardiothoracic_ratio")


@dataclass(frozen=True)
class Patient:
    """One phantom patient.

    `age` in years, [18, 90]; `body_size` scales all lengths, about [0.88, 1.12]; `habitus` is the
    soft-tissue thickness over the ribs, [0, 1]; `depth` is a relative chest depth, about [0.9,
    1.1]; `offset_x`, `offset_z` (cm) are the positioning; `inspiration` (cm) lowers the diaphragm.
    `cardiothoracic_ratio` is heart width over inner chest width, [0.36, 0.68]. Volumes, sizes and
    severities are in [0, 1], 0 is absent.
    """

    sex: str = "male"
    age: float = 50.0
    body_size: float = 1.0
    habitus: float = 0.3
    depth: float = 1.0
    offset_x: float = 0.0
    offset_z: float = 0.0
    inspiration: float = 0.0
    cardiothoracic_ratio: float = 0.45
    effusion_left: float = 0.0
    effusion_right: float = 0.0
    consolidation: str = NONE
    consolidation_size: float = 0.0
    atelectasis: str = NONE
    edema: float = 0.0
    pneumothorax: str = NONE
    pneumothorax_size: float = 0.0
    nodule: str = NONE
    nodule_size: float = 0.0
    pacemaker: bool = False
    central_line: bool = False
    endotracheal_tube: bool = False
    texture_seed: int = 0

    def __post_init__(self) -> None:
        for name, valid in (
            ("sex", ("male", "female")),
            ("consolidation", (NONE, *CONSOLIDATION_SITES)),
            ("atelectasis", (NONE, *SIDES)),
            ("pneumothorax", (NONE, *SIDES)),
            ("nodule", (NONE, *NODULE_SITES)),
        ):
            if getattr(self, name) not in valid:
                raise ValueError(
                    f"patient {name}: expected one of {', '.join(valid)}, got "
                    f"{getattr(self, name)!r}"
                )

    @property
    def cardiomegaly(self) -> bool:
        return self.cardiothoracic_ratio > CARDIOMEGALY_RATIO

    def effusion(self, side: str) -> float:
        """Pleural fluid of a side, [0, 1]."""
        return self.effusion_left if side == "left" else self.effusion_right


def generator_for(seed: int, index: int, purpose: str, visit: int = 0) -> np.random.Generator:
    """The random stream of a visit of patient `index` for one purpose: anatomy, report, table or
    absence."""
    entropy = [seed, index, _PURPOSES[purpose], *([visit] if visit else [])]
    return np.random.default_rng(np.random.SeedSequence(entropy))


def grade(value: float, grades: tuple[tuple[float, str], ...]) -> str:
    """The name of the first grade whose upper limit `value` does not exceed."""
    return next(name for limit, name in grades if value <= limit)


def findings(patient: Patient) -> dict[str, Any]:
    """What a perfect radiologist would write down: the keys and values that `report.read_report`
    gives back."""
    return {
        "heart": grade(patient.cardiothoracic_ratio, HEART_GRADES),
        "cardiomegaly": patient.cardiomegaly,
        "effusion_left": grade(patient.effusion_left, EFFUSION_GRADES),
        "effusion_right": grade(patient.effusion_right, EFFUSION_GRADES),
        "consolidation": patient.consolidation,
        "atelectasis": patient.atelectasis,
        "edema": grade(patient.edema, EDEMA_GRADES),
        "pneumothorax": patient.pneumothorax,
        "nodule": patient.nodule,
        "pacemaker": patient.pacemaker,
        "central_line": patient.central_line,
        "endotracheal_tube": patient.endotracheal_tube,
    }


def truth_of(patient: Patient) -> dict[str, Any]:
    """Flat dict of JSON values: every field of the patient, and `ctr`, `cardiomegaly`, `heart` and
    `edema_grade`."""
    truth = asdict(patient)
    truth["ctr"] = patient.cardiothoracic_ratio
    truth["cardiomegaly"] = patient.cardiomegaly
    truth["heart"] = grade(patient.cardiothoracic_ratio, HEART_GRADES)
    truth["edema_grade"] = grade(patient.edema, EDEMA_GRADES)
    return truth


def illness(patient: Patient) -> float:
    """Illness visible in the chest: a weighted sum of edema, consolidation, effusion and
    pneumothorax, [0, about 3]."""
    consolidation = 0.5 + patient.consolidation_size if patient.consolidation != NONE else 0.0
    fluid = patient.effusion_left + patient.effusion_right
    return (
        1.2 * patient.edema
        + 0.8 * consolidation
        + 0.7 * fluid
        + 0.3 * (patient.pneumothorax != NONE)
    )


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


def sample_patient(seed: int, index: int, visit: int = 0) -> Patient:
    """Patient `index` of the population `seed`; the same on every machine and in every order. A
    later `visit` (1, 2, ...) keeps the body with its ribs and vessels, and has a position, a
    breath, findings and devices of its own."""
    rng = generator_for(seed, index, "anatomy", visit)
    body = _sample_body(rng)
    if visit:
        first = sample_patient(seed, index)
        body |= {name: getattr(first, name) for name in _LASTING}
    fields = body | _sample_findings(rng, body["age"], body["cardiothoracic_ratio"])
    sick = illness(Patient(**fields))
    fields["endotracheal_tube"] = bool(rng.random() < sigmoid(1.5 * sick - 4.1))
    lined = 0.55 if fields["endotracheal_tube"] else sigmoid(0.8 * sick - 3.4)
    fields["central_line"] = bool(rng.random() < lined)
    pacing = sigmoid(0.07 * (body["age"] - 70) + 8 * (body["cardiothoracic_ratio"] - 0.45) - 2.2)
    fields["pacemaker"] = bool(rng.random() < pacing)
    fields["texture_seed"] = first.texture_seed if visit else int(rng.integers(2**31))
    return Patient(**fields)


def _sample_body(rng: np.random.Generator) -> dict[str, Any]:
    """Age groups as in the Stony Brook study (Table 1 of the hybrid CXR-tabular paper); older
    hearts are wider."""
    low, high = ((18, 59), (59, 74), (74, 90))[rng.choice(3, p=[0.555, 0.255, 0.19])]
    age = float(low + (high - low) * rng.random() ** (0.7 if low == 18 else 1.0))
    sex = "male" if rng.random() < 0.56 else "female"
    size = 1.03 if sex == "male" else 0.96
    ratio = 0.445 + 0.0011 * (age - 50) + rng.normal(0, 0.05) + rng.exponential(0.02)
    return {
        "sex": sex,
        "age": round(age, 1),
        "body_size": float(np.clip(rng.normal(size, 0.03), 0.88, 1.12)),
        "habitus": float(rng.beta(2, 3)),
        "depth": float(np.clip(rng.normal(1.0 + 0.001 * (age - 50), 0.04), 0.88, 1.12)),
        "offset_x": float(np.clip(rng.normal(0, 0.5), -1.2, 1.2)),
        "offset_z": float(np.clip(rng.normal(0, 0.6), -1.5, 1.5)),
        "inspiration": float(np.clip(rng.normal(0, 0.8), -1.8, 1.8)),
        "cardiothoracic_ratio": round(float(np.clip(ratio, 0.36, 0.68)), 4),
    }


def _sample_findings(rng: np.random.Generator, age: float, ratio: float) -> dict[str, Any]:
    """Findings with their correlations: edema follows a wide heart, effusion follows edema,
    atelectasis effusion."""
    fields: dict[str, Any] = {}
    if rng.random() < sigmoid(16 * (ratio - 0.5) + 0.015 * (age - 60) - 1.6):
        fields["edema"] = round(float(rng.uniform(0.25, 0.95)), 3)
    edema = fields.get("edema", 0.0)
    if rng.random() < sigmoid(0.02 * (age - 55) + 2.6 * edema - 1.15):
        sides = SIDES if rng.random() < 0.25 + 0.4 * edema else (SIDES[rng.integers(2)],)
        for side in sides:
            fields[f"effusion_{side}"] = round(float(0.15 + 0.8 * rng.beta(1.1, 1.5)), 3)
    if rng.random() < 0.31:
        site = rng.choice(len(CONSOLIDATION_SITES), p=[0.18, 0.15, 0.2, 0.16, 0.17, 0.14])
        fields["consolidation"] = CONSOLIDATION_SITES[site]
        fields["consolidation_size"] = round(float(rng.uniform(0.2, 1.0)), 3)
    wet = [side for side in SIDES if fields.get(f"effusion_{side}", 0.0) > 0]
    if rng.random() < (0.2 if wet else 0.1):
        side = wet[rng.integers(len(wet))] if wet and rng.random() < 0.6 else SIDES[rng.integers(2)]
        fields["atelectasis"] = side
    if rng.random() < 0.09:
        dry = [side for side in SIDES if fields.get(f"effusion_{side}", 0.0) < 0.35] or list(SIDES)
        fields["pneumothorax"] = dry[rng.integers(len(dry))]
        fields["pneumothorax_size"] = round(float(rng.uniform(0.3, 1.0)), 3)
    if rng.random() < 0.1:
        fields["nodule"] = NODULE_SITES[rng.integers(len(NODULE_SITES))]
        fields["nodule_size"] = round(float(rng.uniform(0.2, 1.0)), 3)
    return fields
