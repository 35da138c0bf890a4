"""The bench of the utility tables: real and synthetic images of the same studies, a network, a real
test set."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.records import fit_settings, real_test
from medcodi.evaluation.routes import patients
from medcodi.evaluation.table import EvaluationTable
from medcodi.metrics import utility
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.metrics.networks.from_scratch import train_and_predict
from medcodi.metrics.retrieval import text_distances
from medcodi.metrics.statistics import bootstrap
from medcodi.metrics.utility import LabelledImages, Prediction

AVERAGES = [f"{kind} {average}" for kind in ("auroc", "f1") for average in utility.AVERAGES]


@dataclasses.dataclass
class Bench:
    """Equal studies, real and synthetic: image i of both has the labels of training study i.
    `retrieved`: the real image of the nearest other report. `other`: real images of other studies.
    And the real test set."""

    letter: str
    names: list[str]
    real: LabelledImages
    synthetic: LabelledImages
    retrieved: LabelledImages
    other: LabelledImages
    test: LabelledImages
    groups: list[str]
    settings: FitSettings
    options: dict[str, Any]
    context: EvaluationContext

    def predict(self, train: LabelledImages) -> Prediction:
        return train_and_predict(train, self.test.images, self.settings, self.options["seeds"])

    def cells(self, prediction: Prediction, figures: Sequence[str] = AVERAGES) -> dict[str, Any]:
        scores = utility.scores_of(self.test.labels, prediction)
        return {
            name: bootstrap(scores[name], len(self.test), self.groups, *self._resampling)
            for name in figures
        }

    def compare(
        self, first: Prediction, second: Prediction, figure: str = "auroc macro"
    ) -> utility.Paired:
        a, b = (
            utility.scores_of(self.test.labels, prediction)[figure]
            for prediction in (first, second)
        )
        return utility.paired_test(a, b, len(self.test), self.groups, *self._resampling)

    @property
    def _resampling(self) -> tuple[int, int]:
        return min(self.context.settings.num_resamples, 200), self.context.seed


def bench_options(context: EvaluationContext) -> dict[str, Any]:
    """Options of the tables of utility, with their defaults."""
    return {
        "num_images": context.settings.num_studies,
        "num_test": 2000,
        "seeds": [0, 1],
        "fit": {},
        "scarcity": "replace",
    }


def bench_of(table: EvaluationTable, context: EvaluationContext, letter: str) -> Bench:
    """Synthetic images by T>F (T>L), prompted by the reports of training studies, whose labels they
    inherit."""
    options = table.options(context)
    prompted, spare = _training(context, letter, options["num_images"])
    test = real_test(context, [letter], options["num_test"])
    labels = context.labels.own.of(prompted)
    tested = context.labels.own.of(test)
    kept = [
        k
        for k in utility.measurable(tested, context.labels.own.names)
        if both_classes(labels[:, k])
    ]
    if not kept:
        raise ValueError(
            f"no finding has positive and negative images both in {len(prompted)} training and the "
            "test studies"
        )
    take = lambda images, of: LabelledImages(np.asarray(images, np.float32), of[:, kept])
    made = context.generations.samples("T", letter, studies=prompted)[letter]
    nearest = text_distances(
        context.studies.values(prompted, "T"), context.studies.values(spare, "T")
    ).argmin(axis=1)
    images, others = context.studies.images(test, letter), spare[: len(prompted)]
    return Bench(
        letter,
        [context.labels.own.names[k] for k in kept],
        take(context.studies.images(prompted, letter), labels),
        take(np.stack(made), labels),
        take(context.studies.images([spare[i] for i in nearest], letter), labels),
        take(context.studies.images(others, letter), context.labels.own.of(others)),
        take(images, tested),
        patients(test),
        fit_settings(options["fit"], images.shape[1], f"evaluation.tables.{table.id}"),
        options,
        context,
    )


def _training(context: EvaluationContext, letter: str, count: int) -> tuple[list, list]:
    """The studies whose reports are prompts, and others, to retrieve from."""
    studies = context.studies.training(["T", letter])
    if len(studies) < 20:
        raise ValueError(
            "expected 20 training studies or more with a report and a "
            f"{context.studies.name(letter)}, got {len(studies)}"
        )
    count = min(count, len(studies) // 2)
    return studies[:count], studies[count:]


def both_classes(labels: np.ndarray) -> bool:
    return bool((labels == 1).any() and (labels == 0).any())
