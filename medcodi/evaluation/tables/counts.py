"""T1: how many held-out studies have a label for each finding, and how many are positive (MedCoDi-M, Table 1)."""

import numpy as np

from medcodi.evaluation.context import HELD_OUT, EvaluationContext
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table

PAPER = {
    "Atelectasis": (10561, 1438), "Cardiomegaly": (10305, 1146), "Consolidation": (9911, 254), "Edema": (10230, 774),
    "Enlarged Cardiomediastinum": (9215, 83), "Lung Lesion": (9476, 342), "Lung Opacity": (11136, 1980),
    "Pleural Effusion": (10558, 1258), "Pneumonia": (10454, 853), "Pneumothorax": (9337, 84),
}  # fmt: skip


@register_table
class LabelCounts(EvaluationTable):
    """Counts of 0 and 1 only: uncertain and missing labels are masked."""

    id, title, needs = "T1", "Label counts of the held-out studies", ("labels",)

    def run(self, context: EvaluationContext) -> Result:
        studies = context.studies(HELD_OUT)
        if not studies:
            raise ValueError(f"{context.recipe.data.prepared} has no held-out study")
        labels = context.labels.of(studies)
        rows, figures = [], {}
        for name, column in zip(context.labels.names, labels.T, strict=True):
            known, positive = int((~np.isnan(column)).sum()), int(np.nansum(column))
            cells = {"labelled": known, "positive": positive, "positive share": positive / known if known else None}
            cells["masked"] = len(studies) - known
            rows.append(Row(name, "real", cells))
            figures |= {f"{name}.labelled": known, f"{name}.positive": positive}
        rows += [
            Row(f"MIMIC-CXR: {name}", "paper", {"labelled": known, "positive": positive, "positive share": positive / known})
            for name, (known, positive) in PAPER.items()
        ]
        return Result(
            self.title, ["labelled", "positive", "positive share", "masked"], rows, len(studies), [],
            [f"Labels: {context.labels.source}. A label that is uncertain or missing is masked, never counted as negative.",
             "Held out: the test and the validation split."], figures,
        )  # fmt: skip
