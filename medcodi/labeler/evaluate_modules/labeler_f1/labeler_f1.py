"""F1 of the findings that the labeler reads in reports, as a metric of `evaluate`, loaded from this
folder: `evaluate.load(folder)` needs no network."""

import datasets
import evaluate
import numpy as np

from medcodi.labeler import POSITIVE, UNCERTAIN, Labeler
from medcodi.metrics.classification import AVERAGES, f1_scores

READ_AS = {"positive": (POSITIVE, UNCERTAIN), "negative": (POSITIVE,)}


class LabelerF1(evaluate.Metric):
    """F1 of each observation of the vocabulary and their averages, truth: the labeler on the
    reference. `uncertain` says what a hedged finding counts as, in both; not mentioned counts as
    absent. An observation that no reference has is None."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=__doc__,
            citation="Irvin et al. 2019, CheXpert",
            inputs_description="predictions, references: reports",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[str],
        vocabulary: str = "chexpert",
        uncertain: str = "negative",
    ) -> dict[str, float | None]:
        if uncertain not in READ_AS:
            raise ValueError(f"uncertain must be positive or negative, got {uncertain!r}")
        labeler = Labeler.from_vocabulary(vocabulary)
        names = list(labeler.columns)
        truth, read = (
            np.isin(labeler.label(texts)[names].to_numpy(float), READ_AS[uncertain]).astype(float)
            for texts in (references, predictions)
        )
        scores = f1_scores(truth, read)
        return {
            name: None if np.isnan(value) else float(value)
            for name, value in zip((*names, *AVERAGES), scores, strict=True)
        }
