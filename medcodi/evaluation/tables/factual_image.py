"""T3: do generated images show what their study has? AUC and F1 of a classifier's reading
(MedCoDi-M, Table 3)."""

from collections.abc import Callable, Sequence

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.charts import roc_curves
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.routes import applicable, patients, retrieved, route_name
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.classification import AVERAGES, auc_scores, best_thresholds, f1_scores
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
    version = 2

    def run(self, context: EvaluationContext) -> Result:
        routes, notes = applicable(context, ROUTES)
        self.context, self.names = context, context.labels.own.names
        self.classifier = context.networks.classifier("F")
        validation = context.studies.of("validation", "F", context.settings.num_training_studies)
        if not validation:
            raise ValueError(
                "the validation split has no frontal image: thresholds cannot be chosen"
            )
        scores = self.classifier.probabilities(context.studies.images(validation, "F"))
        self.thresholds = best_thresholds(context.labels.own.of(validation), scores)
        rows, curves, studies = [], {}, context.studies.held_out("F")
        rows += self._rows(
            "real frontal", "real", studies, context.studies.images(studies, "F"), curves
        )
        for prompts, output in routes:
            name, studies = (
                route_name(prompts, output),
                context.studies.held_out([*prompts, output]),
            )
            images = np.stack(context.generations.samples(prompts, output, studies=studies)[output])
            rows += self._rows(name, "ours", studies, images, curves)
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
            "The classifier is trained by the suite on real training images; it is no published "
            "network.",
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
        )

    def _rows(
        self, system: str, kind: str, studies: list, images: np.ndarray, curves: dict | None = None
    ) -> list[Row]:
        labels, scores = self.context.labels.own.of(studies), self.classifier.probabilities(images)
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
        labels, scores = self.context.labels.own.of(studies), self.classifier.probabilities(images)
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
        labels, settings = self.context.labels.own.of(studies), self.context.settings
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
