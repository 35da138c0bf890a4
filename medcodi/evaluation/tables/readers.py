"""T7: can readers tell generated studies from real ones? The ratings of a visual Turing test
(MedCoDi-M, Table 7).

The readers' study stands in the recipe: `evaluation.tables.T7: {study: FOLDER}`, as `medcodi turing
make` wrote it, of either arm: ratings, or a forced choice.
"""

from pathlib import Path
from typing import Any

import numpy as np

from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.identity import fingerprint
from medcodi.metrics.statistics import Estimate, auc, spread
from medcodi.turing.choice import CHOICE_NOTE
from medcodi.turing.report import read_scores, report
from medcodi.turing.tasks import CHOICE, TASKS

RATING, SD, DIFFERENCE, AUC, ALPHA = (
    "rating, 1 to 5",
    "sd",
    "synthetic - real",
    "AUC of the readers",
    "alpha",
)
COLUMNS = [RATING, SD, DIFFERENCE, AUC, ALPHA]
CHOICES = {
    "right": "right choices",
    "real_called_real": "real called real",
    "synthetic_called_synthetic": "synthetic called synthetic",
    "right_when_sure": "right when sure",
}
NUM_SHUFFLES = 200


@register_table
class Readers(EvaluationTable):
    """Five tasks. Floors: the same ratings with real and synthetic items shuffled, and a reader who
    gives one rating."""

    id, title, needs = "T7", "Visual Turing test: ratings by readers", ()

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return {"study": None}

    def reasons(self, context: EvaluationContext) -> list[str]:
        if super().options(context)["study"]:
            return []
        return [
            "no readers' study is named: `medcodi turing make`, `medcodi serve turing`, then "
            "evaluation.tables.T7.study"
        ]

    def options(self, context: EvaluationContext) -> dict[str, Any]:
        """Also a hash of the ratings, so that new ones are measured."""
        given = super().options(context)
        if not given["study"] or not Path(given["study"]).is_dir():
            return given
        scores = {
            task: np.nan_to_num(part).tolist()
            for task, (part, _) in read_scores(Path(given["study"])).items()
        }
        return given | {"ratings": fingerprint(scores)}

    def run(self, context: EvaluationContext) -> Result:
        folder = Path(self.options(context)["study"])
        told = report(folder, context.settings.num_resamples, context.seed)
        if told["arm"] == CHOICE.key:
            return self._choices(told, context.seed)
        rows, figures = [], {}
        for task in TASKS:
            scores, synthetic = read_scores(folder)[task.key]
            about = told["tasks"][task.key]
            for name, kind in (("synthetic", "ours"), ("real", "real")):
                items = int((synthetic == (name == "synthetic")).sum())
                cells: dict[str, Any] = {RATING: _estimate(about[name]), SD: about[name]["sd"]}
                if name == "synthetic":
                    cells |= {
                        DIFFERENCE: _estimate(about["difference"]),
                        AUC: _estimate(about["auc"]),
                    }
                    cells[ALPHA] = _estimate(about["alpha"])
                rows.append(Row(f"{task.title}: {name}", kind, cells, items))
                figures[f"{task.key}.{name}"] = rows[-1].value(RATING)
            rows += _floors(task.title, scores, synthetic, context.seed)
            rows += [
                Row(f"MedCoDi-M, {task.title}: {name}", "paper", {RATING: mean, SD: sd})
                for name, (mean, sd) in zip(("real", "synthetic"), task.paper, strict=True)
            ]
        rated = ", ".join(f"{r['reader']} {r['rated']} of {r['items']}" for r in told["readers"])
        notes = [
            f"Readers and the items that they rated: {rated}. N: items. Intervals: items drawn "
            "with replacement, readers as "
            "they are. AUC: how often a real item is rated above a synthetic one; .5: ratings do "
            "not tell them apart. "
            "Alpha: Krippendorff's, ordinal.",
            "Shuffled: the same ratings, real and synthetic items exchanged at random. The paper's "
            "test has other items and "
            "other readers. Retrieval and class prior have no ratings.",
        ]
        return Result(
            self.title,
            COLUMNS,
            rows,
            sum(t["num_items"] for t in told["tasks"].values()),
            [context.seed],
            notes,
            figures,
        )

    def _choices(self, told: dict[str, Any], seed: int) -> Result:
        rows, figures = [], {}
        for key, about in told["tasks"].items():
            cells = {column: _estimate(about[name]) for name, column in CHOICES.items()}
            cells |= {AUC: _estimate(about["auc"]), ALPHA: _estimate(about["alpha"])}
            rows.append(Row(about["title"], "ours", cells, about["num_items"]))
            figures[f"{key}.right"] = rows[-1].value(CHOICES["right"])
        rows.append(Row("guessing", "floor", {CHOICES["right"]: 0.5, AUC: 0.5}))
        columns, n = [*CHOICES.values(), AUC, ALPHA], sum(row.n or 0 for row in rows)
        return Result(self.title, columns, rows, n, [seed], [CHOICE_NOTE], figures)


def _estimate(told: dict[str, Any]) -> Estimate:
    return Estimate(*(told[name] for name in ("value", "low", "high", "n")))


def _floors(title: str, scores: np.ndarray, synthetic: np.ndarray, seed: int) -> list[Row]:
    """`scores` (R, I) with NaN for no rating, `synthetic` (I,) bool."""
    seen = ~np.isnan(scores).all(axis=0)
    if not seen.any():
        return []
    means, truth, rng = (
        np.nanmean(scores[:, seen], axis=0),
        synthetic[seen],
        np.random.default_rng(seed),
    )
    drawn = np.array([_told_apart(means, rng.permutation(truth)) for _ in range(NUM_SHUFFLES)])
    cells = [
        spread(np.nanmean(column) if not np.isnan(column).all() else np.nan, column, len(truth))
        for column in drawn.T
    ]
    constant = {RATING: float(np.nanmean(scores)), SD: 0.0, DIFFERENCE: 0.0, AUC: 0.5, ALPHA: None}
    return [
        Row(
            f"{title}: real and synthetic shuffled",
            "floor",
            dict(zip((DIFFERENCE, AUC), cells, strict=True)),
        ),
        Row(f"{title}: one rating for all (constant)", "baseline", constant, len(truth)),
    ]


def _told_apart(means: np.ndarray, synthetic: np.ndarray) -> tuple[float, float]:
    if synthetic.all() or not synthetic.any():
        return np.nan, np.nan
    return means[synthetic].mean() - means[~synthetic].mean(), auc(~synthetic, means)
