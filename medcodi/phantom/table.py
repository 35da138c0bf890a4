"""Clinical table rows of phantom patients, drawn from a known model of illness and age.

The 13 columns and about the marginals are those of Table 1 of the hybrid CXR-tabular paper (Stony
Brook COVID-19). Given the patient, the columns are independent of each other but for ICU and
ventilation, and none but `last_status` is needed to know the risk: the true probability of death is
`outcome_probability(patient)`.
"""

from typing import Any

import numpy as np

from medcodi.data.table import Column, TableSchema
from medcodi.phantom.anatomy import Patient, illness, sigmoid

MISSING_RATE = 0.03
SEX_UNKNOWN_RATE = 0.03

SCHEMA = TableSchema(
    [
        Column("last_status", "categorical", ["discharged", "deceased"]),
        Column("age_splits", "ordinal", ["[18,59]", "(59,74]", "(74,90]"], unit="years"),
        Column("gender_concept_name", "categorical", ["male", "female", "NA"]),
        Column("visit_concept_name", "categorical", ["inpatient", "outpatient", "emergency"]),
        Column("is_icu", "categorical", ["false", "true"]),
        Column("was_ventilated", "categorical", ["no", "yes"]),
        Column("acute_kidney_injury", "categorical", ["no", "yes"]),
        Column(
            "length_of_stay", "integer", mean=10.0, std=12.5, minimum=0, maximum=100, unit="days"
        ),
        Column(
            "oral_temperature",
            "continuous",
            mean=37.5,
            std=0.9,
            minimum=34.0,
            maximum=42.0,
            unit="degC",
        ),
        Column(
            "oxygen_saturation", "integer", mean=93.8, std=5.6, minimum=50, maximum=100, unit="%"
        ),
        Column(
            "respiratory_rate", "integer", mean=21.7, std=7.4, minimum=8, maximum=60, unit="1/min"
        ),
        Column("heart_rate", "integer", mean=98.6, std=19.9, minimum=30, maximum=200, unit="1/min"),
        Column(
            "systolic_blood_pressure",
            "integer",
            mean=129.2,
            std=22.8,
            minimum=60,
            maximum=240,
            unit="mmHg",
        ),
    ]
)


def severity(patient: Patient) -> float:
    """Illness and age on one scale, about zero mean and unit variance over `sample_patient`."""
    return (illness(patient) - 0.53) / 0.60 * 0.75 + (patient.age - 55.8) / 18.3 * 0.55


def outcome_probability(patient: Patient) -> float:
    """The true P(deceased | patient), in (0, 1)."""
    return sigmoid(1.5 * severity(patient) - 2.6)


def bayes_auc(patients: list[Patient]) -> float:
    """Expected AUC of ranking `patients` by their true probability of death: no predictor can do
    better on average."""
    risk = np.sort([outcome_probability(patient) for patient in patients])
    survive = 1.0 - risk
    below = np.cumsum(survive) - survive
    # P(i dies, j survives) summed over pairs that are ranked right, over all ordered pairs of two
    # patients.
    return float((risk * below).sum() / (risk.sum() * survive.sum() - (risk * survive).sum()))


def draw_row(patient: Patient, rng: np.random.Generator) -> dict[str, Any]:
    """One row: column -> value as in `SCHEMA`, None where missing at random (3 % of the cells)."""
    s = severity(patient)
    sick = illness(patient)
    pressure = 129.2 + 0.25 * (patient.age - 55) - 6.0 * (sick - 0.53)
    fever = 0.45 * (patient.consolidation_size > 0)
    icu = rng.random() < sigmoid(1.3 * s - 2.0 + 2.0 * patient.endotracheal_tube)
    ventilated = patient.endotracheal_tube or rng.random() < (0.55 if icu else 0.03)
    inpatient = rng.random() < sigmoid(0.8 * s + 1.25)
    row = {
        "last_status": "deceased" if rng.random() < outcome_probability(patient) else "discharged",
        "age_splits": "[18,59]"
        if patient.age <= 59
        else "(59,74]"
        if patient.age <= 74
        else "(74,90]",
        "gender_concept_name": patient.sex if rng.random() >= SEX_UNKNOWN_RATE else "NA",
        "visit_concept_name": "inpatient"
        if inpatient
        else "outpatient"
        if rng.random() < 0.006
        else "emergency",
        "is_icu": "true" if icu else "false",
        "was_ventilated": "yes" if ventilated else "no",
        "acute_kidney_injury": "yes" if rng.random() < sigmoid(1.1 * s - 1.8) else "no",
        "length_of_stay": round(min(float(np.exp(1.8 + 0.5 * s + rng.normal(0, 0.87))), 100.0)),
        "oral_temperature": round(float(np.clip(37.35 + fever + rng.normal(0, 0.85), 34, 42)), 1),
        "oxygen_saturation": round(float(np.clip(96.9 - 5.4 * sick + rng.normal(0, 4.2), 50, 100))),
        "respiratory_rate": round(float(np.clip(19.3 + 4.6 * sick + rng.normal(0, 6.8), 8, 60))),
        "heart_rate": round(float(np.clip(98.5 + 7.0 * s + rng.normal(0, 18.5), 30, 200))),
        "systolic_blood_pressure": round(float(np.clip(pressure + rng.normal(0, 21.5), 60, 240))),
    }
    missing = rng.random(len(row)) < MISSING_RATE
    return {
        name: None if gone else value
        for (name, value), gone in zip(row.items(), missing, strict=True)
    }
