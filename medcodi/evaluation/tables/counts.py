"""T1: how many held-out studies have a label for each finding, and how many are positive
(MedCoDi-M, Table 1)."""

from typing import Any

import numpy as np

from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.studies import HELD_OUT
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.statistics import share_of


@register_table
class LabelCounts(EvaluationTable):
    """Counts of 0 and 1 only: uncertain and missing labels are masked."""

    version = 2
    id, title, needs = "T1", "Label counts of the held-out studies", ("labels",)

    def run(self, context: EvaluationContext) -> Result:
        studies = context.studies.of(HELD_OUT)
        if not studies:
            raise ValueError(f"{context.recipe.data.prepared} has no held-out study")
        labels = context.labels.own.of(studies)
        rows, figures = [], {}
        for name, column in zip(context.labels.own.names, labels.T, strict=True):
            rows.append(Row(name, "real", _counts(column), len(studies)))
            known, positive = rows[-1].cells["labelled"], rows[-1].cells["positive"]
            figures |= {f"{name}.labelled": known, f"{name}.positive": positive}
        training = context.studies.training([])
        for name, column in zip(
            context.labels.own.names, context.labels.own.of(training).T, strict=True
        ):
            rows.append(Row(f"{name}, training studies", "floor", _counts(column), len(training)))
        rows += published("T1")
        return Result(
            self.title,
            ["labelled", "positive", "positive share", "masked"],
            rows,
            len(studies),
            [],
            [
                f"Labels: {context.labels.own.source}. A label that is uncertain or missing is "
                "masked, never counted as negative.",
                "Held out: the test and the validation split. Training studies (other patients, "
                "those that the suite reads) "
                "are real against real. Intervals of shares: Wilson's. Nothing is generated: there "
                "is no other baseline.",
            ],
            figures,
        )


def _counts(column: np.ndarray) -> dict[str, Any]:
    """Cells of one finding's labels (N,): 1, 0, NaN."""
    known = column[~np.isnan(column)]
    cells = {
        "labelled": len(known),
        "positive": int(known.sum()),
        "masked": len(column) - len(known),
    }
    return cells | {"positive share": share_of(known) if len(known) else None}
