"""T3: do generated images show what their study has? AUC and F1 of a classifier's reading (MedCoDi-M, Table 3)."""

from collections.abc import Sequence

import numpy as np

from medcodi.evaluation.charts import roc_curves
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.routes import applicable, patients, retrieved, route_name
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.classification import AVERAGES, auc_scores, best_thresholds, f1_scores
from medcodi.metrics.statistics import bootstrap

ROUTES = (("T", "F"), ("L", "F"), ("LT", "F"))
NUM_SHUFFLES = 10
NOT_DEFINED = "one class"
PAPER_NAMES = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Lung Lesion", "Lung Opacity",
    "Pleural Effusion", "Pneumonia", "Pneumothorax", *AVERAGES,
)  # fmt: skip
PAPER = {
    ("Real Data", "AUC"): (0.84, 0.91, 0.91, 0.93, 0.81, 0.78, 0.85, 0.95, 0.78, 0.86, 0.87, 0.86, 0.87),
    ("MedCoDi-M T>F", "AUC"): (0.86, 0.95, 0.91, 0.94, 0.82, 0.75, 0.86, 0.97, 0.86, 0.85, 0.88, 0.89, 0.90),
    ("MedCoDi-M L>F", "AUC"): (0.86, 0.92, 0.93, 0.94, 0.83, 0.80, 0.89, 0.97, 0.80, 0.90, 0.87, 0.88, 0.90),
    ("MedCoDi-M LT>F", "AUC"): (0.92, 0.96, 0.95, 0.97, 0.87, 0.85, 0.92, 0.98, 0.85, 0.93, 0.91, 0.92, 0.92),
    ("Real Data", "F1"): (0.49, 0.49, 0.35, 0.60, 0.09, 0.12, 0.60, 0.73, 0.35, 0.21, 0.49, 0.40, 0.53),
    ("MedCoDi-M T>F", "F1"): (0.51, 0.60, 0.25, 0.59, 0.08, 0.11, 0.60, 0.78, 0.33, 0.12, 0.50, 0.41, 0.54),
    ("MedCoDi-M L>F", "F1"): (0.51, 0.46, 0.39, 0.57, 0.09, 0.13, 0.64, 0.79, 0.36, 0.17, 0.50, 0.41, 0.54),
    ("MedCoDi-M LT>F", "F1"): (0.58, 0.59, 0.39, 0.68, 0.13, 0.18, 0.68, 0.81, 0.40, 0.26, 0.57, 0.47, 0.60),
}


def paper_rows(names: Sequence[str]) -> list[Row]:
    """Published values of the columns that this data set has too; averages are over the ten findings of the paper."""
    rows = []
    for (system, measure), values in PAPER.items():
        known = {name: v for name, v in zip(PAPER_NAMES, values, strict=True) if name in (*names, *AVERAGES)}
        rows.append(Row(system, "paper", {"measure": measure, **known}))
    return rows


@register_table
class FactualImage(EvaluationTable):
    """The classifier is trained on real training images with the data set's labels; thresholds come from the validation
    split. A finding whose held-out labels are of one class has no value."""

    id, title, needs = "T3", "Factual correctness of generated frontal images", ("pipeline", "labels", "F")

    def run(self, context: EvaluationContext) -> Result:
        routes, notes = applicable(context, ROUTES)
        self.context, self.names = context, context.labels.names
        self.classifier = context.networks.classifier("F")
        validation = context.studies("validation", "F", context.settings.num_training_studies)
        if not validation:
            raise ValueError("the validation split has no frontal image: thresholds cannot be chosen")
        scores = self.classifier.probabilities(context.images(validation, "F"))
        self.thresholds = best_thresholds(context.labels.of(validation), scores)
        rows, curves, studies = [], {}, context.held_out("F")
        rows += self._rows("real frontal", "real", studies, context.images(studies, "F"), curves)
        for prompts, output in routes:
            name, studies = route_name(prompts, output), context.held_out([*prompts, output])
            images = np.stack(context.generated(prompts, output, studies=studies)[output])
            rows += self._rows(name, "ours", studies, images, curves)
            rows += self._shuffled(f"{name}, shuffled studies", studies, images)
            nearest = np.stack(retrieved(context, prompts, output, studies))
            rows += self._rows(f"{name}, nearest training study", "baseline", studies, nearest)
        rows += self._constant("every finding everywhere", context.held_out("F"))
        path = context.picture("T3_roc")
        roc_curves(curves, path)
        figures = {
            f"{r.system}.{r.cells['measure']}.{a}": r.cells[a].value
            for r in rows
            if r.kind in ("ours", "real")
            for a in AVERAGES
        }
        notes += [
            f"Labels: {context.labels.source}; unknown ones masked. Averages are over the findings that have both classes. "
            "Thresholds of F1: highest F1 on real validation images.",
            "The classifier is trained by the suite on real training images; it is no published network.",
            *_warnings(rows),
        ]
        return Result(self.title, ["measure", *self.names, *AVERAGES], rows + paper_rows(self.names),
                      len(context.held_out("F")), [context.seed], notes, figures,
                      {"ROC curves over all known pairs of study and finding (micro)": str(path)})  # fmt: skip

    def _rows(self, system: str, kind: str, studies: list, images: np.ndarray, curves: dict | None = None) -> list[Row]:
        labels, scores = self.context.labels.of(studies), self.classifier.probabilities(images)
        if curves is not None:
            known = ~np.isnan(labels)
            curves[system] = labels[known], scores[known]
        read = scores >= self.thresholds
        groups, settings = patients(studies), self.context.settings
        rows = []
        for measure, function, values in (("AUC", auc_scores, scores), ("F1", f1_scores, read)):
            whole = function(labels, values)
            cells = {"measure": measure, **dict(zip(self.names, whole, strict=False))}
            drawn: dict[bytes, np.ndarray] = {}  # one evaluation a resample serves the three averages

            def average(rows: np.ndarray, i: int, f=function, v=values, d=drawn) -> float:
                key = rows.tobytes()
                if key not in d:
                    d[key] = f(labels[rows], v[rows])
                return d[key][i]

            for i, name in enumerate(AVERAGES, start=len(self.names)):
                cells[name] = bootstrap(
                    lambda rows, i=i, a=average: a(rows, i), len(labels), groups, settings.num_resamples, self.context.seed
                )
            rows.append(Row(system, kind, {k: NOT_DEFINED if _is_nan(v) else v for k, v in cells.items()}))
        return rows

    def _shuffled(self, system: str, studies: list, images: np.ndarray) -> list[Row]:
        """The same images against the labels of other studies: chance."""
        labels, scores = self.context.labels.of(studies), self.classifier.probabilities(images)
        orders = [np.random.default_rng([self.context.seed, i]).permutation(len(labels)) for i in range(NUM_SHUFFLES)]
        rows = []
        for measure, function, values in (("AUC", auc_scores, scores), ("F1", f1_scores, scores >= self.thresholds)):
            mean = np.mean([function(labels[order], values) for order in orders], axis=0)
            rows.append(Row(system, "floor", self._cells(measure, mean)))
        return rows

    def _constant(self, system: str, studies: list) -> list[Row]:
        labels = self.context.labels.of(studies)
        ones = np.ones_like(labels)
        return [
            Row(system, "baseline", self._cells("AUC", auc_scores(labels, ones))),
            Row(system, "baseline", self._cells("F1", f1_scores(labels, ones))),
        ]

    def _cells(self, measure: str, values: np.ndarray) -> dict:
        names = (*self.names, *AVERAGES)
        return {"measure": measure, **{n: NOT_DEFINED if _is_nan(v) else v for n, v in zip(names, values, strict=True)}}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))


def _warnings(rows: list[Row]) -> list[str]:
    real = {row.cells["measure"]: row.cells["macro"].value for row in rows if row.kind == "real"}
    return [
        f"Warning: {row.system} beats real images in macro {row.cells['measure']}: over-typical samples. See T2."
        for row in rows
        if row.kind == "ours" and row.cells["macro"].value > real[row.cells["measure"]]
    ]
