"""The 13 variables of Table 1 (Kikuchi et al., J Imaging Inform Med 2024) in the clinical table of
COVID-19-NY-SBU."""

from medcodi.sources.mapping import ColumnMapping

YES_NO = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}
TRUE_FALSE = {"true": "true", "false": "false"}
VISITS = {
    f"{name}{end}": name
    for name in ("inpatient", "outpatient", "emergency")
    for end in ("", "visit", "roomvisit")
}
AGES = ["[18,59]", "(59,74]", "(74,90]"]


def paper_columns() -> list[ColumnMapping]:
    """The 13 variables; texts are compared in lower case without blanks."""

    def discrete(
        column: str, name: str, values: dict[str, str], kind: str = "categorical"
    ) -> ColumnMapping:
        return ColumnMapping(
            column,
            kind,
            name=name,
            categories=list(dict.fromkeys(values.values())),
            map=dict(values),
        )

    def number(column: str, name: str, unit: str) -> ColumnMapping:
        return ColumnMapping(column, "continuous", name=name, unit=unit)

    return [
        discrete(
            "last.status", "last_status", {"discharged": "discharged", "deceased": "deceased"}
        ),
        discrete("age.splits", "age_splits", {age: age for age in AGES}, "ordinal"),
        discrete(
            "gender_concept_name", "gender_concept_name", {"male": "male", "female": "female"}
        ),
        discrete("visit_concept_name", "visit_concept_name", VISITS),
        discrete("is_icu", "is_icu", TRUE_FALSE),
        discrete("was_ventilated", "was_ventilated", YES_NO),
        discrete("Acute.Kidney.Injury..during.hospitalization.", "acute_kidney_injury", YES_NO),
        number("length_of_stay", "length_of_stay", "days"),
        number("8331-1_Oral temperature", "oral_temperature", "degC"),
        number(
            "59408-5_Oxygen saturation in Arterial blood by Pulse oximetry",
            "oxygen_saturation",
            "%",
        ),
        number("9279-1_Respiratory rate", "respiratory_rate", "1/min"),
        number("76282-3_Heart rate.beat-to-beat by EKG", "heart_rate", "1/min"),
        number("8480-6_Systolic blood pressure", "systolic_blood_pressure", "mmHg"),
    ]
