"""One table for public radiographs: age, sex, projection, and the findings of ChestX-ray14, each no
or yes. Sources that know less leave cells empty."""

from collections.abc import Iterable

from medcodi.data.table import Column, TableSchema

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NO_FINDING = "No_Finding"
NO, YES = "no", "yes"
MAX_AGE = 120  # years; the released table has ages above 400


def finding_columns() -> list[Column]:
    return [Column(name, "categorical", [NO, YES]) for name in (*FINDINGS, NO_FINDING)]


def public_schema() -> TableSchema:
    """age, sex, projection and the findings."""
    return TableSchema(
        [
            Column("age", "integer", unit="years"),
            Column("sex", "categorical", ["F", "M"]),
            Column("projection", "categorical", ["AP", "PA"]),
            *finding_columns(),
        ]
    )


def finding_cells(present: Iterable[str]) -> dict[str, str]:
    """All finding columns of an image whose findings are `present`; none: NO_FINDING."""
    present = set(present)
    cells = {name: YES if name in present else NO for name in FINDINGS}
    return {**cells, NO_FINDING: NO if present else YES}
