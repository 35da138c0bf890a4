"""Fig7: do a generated image and a generated report show the same findings? (MedCoDi-M, Figure 7,
corrected for chance)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.charts import histogram
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.labels import Labels
from medcodi.evaluation.per_sample import SampleValues
from medcodi.evaluation.routes import patients, retrieved
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.labeler import POSITIVE
from medcodi.metrics.classification import best_thresholds
from medcodi.metrics.hamming import chance_hamming, corrected_agreement, hamming
from medcodi.metrics.statistics import bootstrap, paired_difference, shuffled_each

DISTANCE, ZERO, CHANCE, AGREEMENT, GAIN = (
    "Hamming distance",
    "share at 0",
    "chance",
    "agreement over chance",
    "joint - independent",
)
KINDS = {"real pairs": "real", "nearest training study": "baseline"}


@register_table
class ClinicalAgreement(EvaluationTable):
    """L>F and L>T against L>FT: the findings of the image (classifier) and of the report
    (labeler)."""

    id, title, needs = "Fig7", "Clinical agreement of image and report", ("pipeline", "F", "L", "T")
    version = 3

    def run(self, context: EvaluationContext) -> Result:
        studies = context.studies.held_out("LFT")
        if not studies:
            raise ValueError("no held-out study has both views and a report")
        labels = self._labels(context)
        read = self._read(context, studies, labels)
        settings = (len(studies), patients(studies), context.settings.num_resamples, context.seed)
        rows = [_row(name, *pair, settings) for name, pair in read.items()]
        joint, apart = (read[name] for name in list(read)[:2])
        rows[0].cells[GAIN] = paired_difference(
            *(lambda r, p=pair: corrected_agreement(p[0][r], p[1][r]) for pair in (joint, apart)),
            *settings,
        )
        rows.insert(2, _shuffled("L>FT, joint, shuffled studies", *joint, context.seed))
        nothing = {DISTANCE: 0.0, ZERO: 1.0, CHANCE: 0.0, AGREEMENT: None}
        rows.append(
            Row("no finding in any image or report (constant)", "baseline", nothing, len(studies))
        )
        figures = {
            f"{r.system}.{c}": r.value(c)
            for r in rows
            if r.kind in ("ours", "real")
            for c in (DISTANCE, AGREEMENT)
        }
        notes = [
            f"Findings: {', '.join(labels.names)}. Classifier: trained on the {labels.source}; "
            "thresholds: validation.",
            "Agreement over chance: 1 - distance / distance of independent labels with the same "
            "frequencies. A small "
            "distance alone proves nothing: a model that never shows a finding has it too.",
        ]
        path = context.picture("Fig7")
        distances = {name: hamming(*pair) for name, pair in read.items()}
        histogram(distances, "Hamming distance of image and report", path)
        pictures = {"Hamming distance of the labels of image and report": str(path)}
        columns = [DISTANCE, ZERO, CHANCE, AGREEMENT, GAIN]
        seeds, n = [context.seed], len(studies)
        samples = [SampleValues(k, DISTANCE, studies, d) for k, d in distances.items()]
        return Result(self.title, columns, rows, n, seeds, notes, figures, pictures, samples)

    def _read(
        self, context: EvaluationContext, studies: Sequence[Study], labels: Labels
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """System -> findings of its images and of its reports, (N, labels) bool each."""
        classifier = context.networks.classifier("F", labels)
        validation = context.studies.of("validation", "FT", context.settings.num_training_studies)
        if not validation:
            raise ValueError(
                "no validation study has a frontal image and a report: thresholds cannot be chosen"
            )
        thresholds = best_thresholds(
            labels.of(validation), classifier.probabilities(context.studies.images(validation, "F"))
        )
        systems = {
            "L>FT, joint": context.generations.samples("L", "FT", studies=studies),
            "L>F and L>T, independent": context.generations.samples(
                "L", "FT", studies=studies, joint=False
            ),
            "real pairs": {letter: context.studies.values(studies, letter) for letter in "FT"},
            "nearest training study": {
                letter: retrieved(context, "L", letter, studies, "FT") for letter in "FT"
            },
        }
        return {
            name: (
                classifier.probabilities(np.stack(pair["F"])) >= thresholds,
                context.labels.labeler.label(pair["T"])[list(labels.names)].to_numpy(float)
                == POSITIVE,
            )
            for name, pair in systems.items()
        }

    def _labels(self, context: EvaluationContext) -> Labels:
        """The data set's labels where the labeler knows all of them, else what the labeler reads in
        real reports."""
        labels = context.labels.own
        if labels and set(labels.names) <= set(context.labels.labeler.columns):
            return labels
        return context.labels.of_reports


def _row(system: str, image: np.ndarray, report: np.ndarray, settings: tuple[Any, ...]) -> Row:
    """A system beside what chance gives; `settings` are those of `bootstrap`."""
    distance = hamming(image, report)
    cells = {
        DISTANCE: bootstrap(lambda r: float(distance[r].mean()), *settings),
        ZERO: bootstrap(lambda r: float((distance[r] == 0).mean()), *settings),
        CHANCE: chance_hamming(image, report),
        AGREEMENT: bootstrap(lambda r: corrected_agreement(image[r], report[r]), *settings),
    }
    return Row(system, KINDS.get(system, "ours"), cells)


def _shuffled(system: str, image: np.ndarray, report: np.ndarray, seed: int) -> Row:
    """The images of studies with the reports of others."""

    def figures(partner: np.ndarray) -> list[float]:
        distance = hamming(image, report[partner])
        return [
            distance.mean(),
            (distance == 0).mean(),
            corrected_agreement(image, report[partner]),
        ]

    distance, zero, agreement = shuffled_each(figures, len(image), seed=seed)
    cells = {
        DISTANCE: distance,
        ZERO: zero,
        CHANCE: chance_hamming(image, report),
        AGREEMENT: agreement,
    }
    return Row(system, "floor", cells)
