"""T3: do generated images show what their study has? AUC and F1 of a classifier's reading
(MedCoDi-M, Table 3)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.charts import roc_curves
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.per_sample import SampleValues
from medcodi.evaluation.routes import applicable, patients, retrieved, route_name
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.classification import AVERAGES, auc_scores, best_thresholds, f1_scores
from medcodi.metrics.networks.xrv_classifier import XrvClassifier
from medcodi.metrics.statistics import Estimate, bootstrap_each, shuffled_each

ROUTES = (("T", "F"), ("L", "F"), ("LT", "F"))
NOT_DEFINED = "one class"


@register_table
class FactualImage(EvaluationTable):
    """The classifier is trained on real training images with the data set's labels; thresholds come
    from the validation split. A finding whose held-out labels are of one class has no value."""

    id, title, needs = (
        "T3",
        "Factual correctness of generated frontal images",
        ("pipeline", "labels", "F"),
    )
    version = 3

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        """`classifier`: torchxrayvision's DenseNet {name, file, sha256, ...}
        (metrics/networks/xrv_classifier.py); None trains one on the data set's labels."""
        return {"classifier": None}

    def run(self, context: EvaluationContext) -> Result:
        routes, notes = applicable(context, ROUTES)
        self.context = context
        self._choose_classifier(context)
        validation = context.studies.of("validation", "F", context.settings.num_training_studies)
        if not validation:
            raise ValueError(
                "the validation split has no frontal image: thresholds cannot be chosen"
            )
        scores = self._scores(context.studies.images(validation, "F"))
        self.thresholds = best_thresholds(self._labels(validation), scores)
        rows, curves, studies = [], {}, context.studies.held_out("F")
        rows += self._rows(
            "real frontal", "real", studies, context.studies.images(studies, "F"), curves
        )
        samples = self._samples("real frontal", studies, context.studies.images(studies, "F"))
        for prompts, output in routes:
            name, studies = (
                route_name(prompts, output),
                context.studies.held_out([*prompts, output]),
            )
            images = np.stack(context.generations.samples(prompts, output, studies=studies)[output])
            rows += self._rows(name, "ours", studies, images, curves)
            samples += self._samples(name, studies, images)
            rows += self._shuffled(f"{name}, shuffled studies", studies, images)
            nearest = np.stack(retrieved(context, prompts, output, studies))
            rows += self._rows(f"{name}, nearest training study", "baseline", studies, nearest)
        rows += self._prior(context.studies.held_out("F"))
        rows += self._constant("every finding everywhere", context.studies.held_out("F"))
        path = context.picture("T3_roc")
        roc_curves(curves, path)
        figures = {
            f"{r.system}.{r.cells['measure']}.{a}": r.value(a)
            for r in rows
            if r.kind in ("ours", "real")
            for a in AVERAGES
        }
        notes += [
            f"Labels: {context.labels.own.source}; unknown ones masked. Averages are over the "
            "findings that have both classes. "
            "Thresholds of F1: highest F1 on real validation images"
            + (
                ", some of which are measured too."
                if _shared(validation, context.studies.held_out("F"))
                else "."
            ),
            self.about_classifier,
            *_warnings(rows),
        ]
        return Result(
            self.title,
            ["measure", *self.names, *AVERAGES],
            rows + published("T3", ("measure", *self.names, *AVERAGES)),
            len(context.studies.held_out("F")),
            [context.seed],
            notes,
            figures,
            {"ROC curves over all known pairs of study and finding (micro)": str(path)},
            samples,
        )

    def _choose_classifier(self, context: EvaluationContext) -> None:
        """The network, the findings that are measured, and a note on both."""
        own, spec = list(context.labels.own.names), self.options(context)["classifier"]
        if spec is None:
            network = context.networks.classifier("F")
            self.names, self._scores = own, network.probabilities
            self.about_classifier = (
                "The classifier is trained by the suite on real training images; it is no "
                "published network."
            )
        else:
            network = XrvClassifier(spec, f"evaluation.tables.{self.id}.classifier")
            self.names = network.readable(own)
            if not self.names:
                raise ValueError(
                    f"{spec['name']} reads {', '.join(filter(None, network.outputs))}; the labels "
                    f"are {', '.join(own)}: they have no finding in common"
                )
            self._scores = functools.partial(network.probabilities, names=self.names)
            left = ", ".join(n for n in own if n not in self.names) or "none"
            self.about_classifier = (
                f"The classifier is {spec['name']} (torchxrayvision, SHA-256 "
                f"{spec['sha256'][:12]}), not trained here. Findings that it does not read: {left}."
            )
        self.columns = [own.index(name) for name in self.names]

    def _labels(self, studies: Sequence[Study]) -> np.ndarray:
        return self.context.labels.own.of(studies)[:, self.columns]

    def _samples(self, system: str, studies: list, images: np.ndarray) -> list[SampleValues]:
        """By image, over the known findings: share that is read rightly, and Brier score."""
        labels, scores = self._labels(studies), self._scores(images)
        known = ~np.isnan(labels)
        right = (labels == (scores >= self.thresholds)) & known
        squares = np.where(known, (scores - labels) ** 2, 0)
        with np.errstate(invalid="ignore"):
            values = {
                "findings read rightly": right.sum(axis=1) / known.sum(axis=1),
                "Brier score": squares.sum(axis=1) / known.sum(axis=1),
            }
        return [SampleValues(system, name, studies, v) for name, v in values.items()]

    def _rows(
        self, system: str, kind: str, studies: list, images: np.ndarray, curves: dict | None = None
    ) -> list[Row]:
        labels, scores = self._labels(studies), self._scores(images)
        if curves is not None:
            known = ~np.isnan(labels)
            curves[system] = labels[known], scores[known]
        groups, settings, rows = patients(studies), self.context.settings, []
        for measure, function, values in self._measures(scores):
            cells = bootstrap_each(
                lambda rows, f=function, v=values: f(labels[rows], v[rows]),
                len(labels),
                groups,
                settings.num_resamples,
                self.context.seed,
            )
            rows.append(Row(system, kind, self._cells(measure, cells), len(labels)))
        return rows

    def _prior(self, studies: list) -> list[Row]:
        """Real images of training studies, drawn without regard to the prompt."""
        training = self.context.studies.training("F")
        drawn = np.random.default_rng(self.context.seed).integers(len(training), size=len(studies))
        images = self.context.studies.images([training[i] for i in drawn], "F")
        return self._rows("random training image (prior)", "baseline", studies, images)

    def _measures(self, scores: np.ndarray) -> list[tuple[str, Callable, np.ndarray]]:
        return [("AUC", auc_scores, scores), ("F1", f1_scores, scores >= self.thresholds)]

    def _shuffled(self, system: str, studies: list, images: np.ndarray) -> list[Row]:
        """The same images against the labels of other studies: chance."""
        labels, scores = self._labels(studies), self._scores(images)
        rows = []
        for measure, function, values in self._measures(scores):
            shuffles = min(self.context.settings.num_resamples, 200)
            cells = shuffled_each(
                lambda partner, f=function, v=values: f(labels[partner], v),
                len(labels),
                shuffles,
                self.context.seed,
            )
            rows.append(Row(system, "floor", self._cells(measure, cells), len(labels)))
        return rows

    def _constant(self, system: str, studies: list) -> list[Row]:
        """Every finding everywhere: no AUC but chance, and the F1 of its prevalence."""
        labels, settings = self._labels(studies), self.context.settings
        says_yes = bootstrap_each(
            lambda rows: f1_scores(labels[rows], np.ones_like(labels[rows])),
            len(labels),
            patients(studies),
            settings.num_resamples,
            self.context.seed,
        )
        chance = auc_scores(labels, np.ones_like(labels))
        return [
            Row(system, "baseline", self._cells("AUC", chance), len(labels)),
            Row(system, "baseline", self._cells("F1", says_yes), len(labels)),
        ]

    def _cells(self, measure: str, values: Sequence[Estimate | float]) -> dict:
        names = (*self.names, *AVERAGES)
        named = zip(names, values, strict=True)
        return {
            "measure": measure,
            **{n: NOT_DEFINED if np.isnan(getattr(v, "value", v)) else v for n, v in named},
        }


def _shared(first: Sequence[Study], second: Sequence[Study]) -> bool:
    return not {study.study_id for study in first}.isdisjoint(study.study_id for study in second)


def _warnings(rows: list[Row]) -> list[str]:
    real = {row.cells["measure"]: row.value("macro") for row in rows if row.kind == "real"}
    return [
        f"Warning: {row.system} beats real images in macro {row.cells['measure']}: over-typical "
        "samples. See T2."
        for row in rows
        if row.kind == "ours" and row.value("macro") > real[row.cells["measure"]]
    ]
