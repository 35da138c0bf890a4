"""T5b: F1 over CheXpert's 14 and its 5 competition observations, with what a report hedges read
both ways, as F1CheXbert is reported (Smit et al. 2020; Irvin et al. 2019, section 4).

The labels are those of the package's own labeler, not of CheXbert's network.
"""

from collections.abc import Sequence

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.per_sample import SampleValues
from medcodi.evaluation.routes import REPORT_ROUTES, applicable, patients, report_routes, retrieved
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.labeler import POSITIVE, UNCERTAIN
from medcodi.metrics.classification import f1_scores
from medcodi.metrics.statistics import bootstrap_each, shuffled_each

FIVE = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
NUM_ALL = 14
READ_AS = {"positive": (POSITIVE, UNCERTAIN), "negative": (POSITIVE,)}  # what counts as there
COLUMNS = [
    f"{average} F1-{size}, uncertain {way}"
    for way in READ_AS
    for size in (NUM_ALL, len(FIVE))
    for average in ("micro", "macro")
]


@register_table
class UncertainBothWays(EvaluationTable):
    """Truth: the labeler on the real report, read the same way. Not mentioned counts as absent."""

    id, title = "T5b", "F1 over 14 and 5 observations, uncertain read both ways"
    needs = ("pipeline", "T")

    def reasons(self, context: EvaluationContext) -> list[str]:
        columns = context.labels.labeler.columns
        if len(columns) == NUM_ALL and set(FIVE) <= set(columns):
            return super().reasons(context)
        return [
            f"the vocabulary {context.settings.vocabulary} has other observations than CheXpert"
        ]

    def run(self, context: EvaluationContext) -> Result:
        routes, notes = applicable(context, REPORT_ROUTES)
        self.context = context
        self.names = list(context.labels.labeler.columns)
        rows: list[Row] = []
        samples: list[SampleValues] = []
        for name, prompts, output, studies, texts in report_routes(context, routes):
            rows.append(self._row(name, "ours", texts, studies))
            rows.append(self._row(f"{name}, shuffled studies", "floor", texts, studies))
            nearest = retrieved(context, prompts, output, studies)
            rows.append(self._row(f"{name}, nearest training study", "baseline", nearest, studies))
            samples += self._samples(name, texts, studies)
        notes.append(
            f"Labeler: vocabulary {context.settings.vocabulary}, not CheXbert's network. Uncertain "
            "positive: what is hedged counts as there, in both reports; negative: as absent. Macro "
            "is over the observations that a real report has."
        )
        figures = {f"{r.system}.{c}": r.value(c) for r in rows if r.kind == "ours" for c in COLUMNS}
        return Result(
            self.title,
            COLUMNS,
            rows,
            len(context.studies.held_out("T")),
            [context.seed],
            notes,
            figures,
            samples=samples,
        )

    def _labels(self, texts: Sequence[str]) -> np.ndarray:
        return self.context.labels.labeler.label(texts)[self.names].to_numpy(float)

    def _figures(self, truth: np.ndarray, read: np.ndarray) -> list[float]:
        five = [self.names.index(name) for name in FIVE]
        found = []
        for there in READ_AS.values():
            real, made = np.isin(truth, there).astype(float), np.isin(read, there).astype(float)
            for chosen in (slice(None), five):
                micro, macro, _ = f1_scores(real[:, chosen], made[:, chosen])[-3:]
                found += [micro, macro]
        return found

    def _row(self, system: str, kind: str, texts: Sequence[str], studies: Sequence[Study]) -> Row:
        """A floor pairs the texts with the reports of other studies."""
        truth, read = self._labels(self.context.studies.values(studies, "T")), self._labels(texts)
        settings, seed = self.context.settings, self.context.seed
        if kind == "floor":
            shuffles = min(settings.num_resamples, 200)
            pairs = lambda partner: self._figures(truth[partner], read)
            cells = shuffled_each(pairs, len(truth), shuffles, seed)
        else:
            own = lambda rows: self._figures(truth[rows], read[rows])
            groups, times = patients(studies), settings.num_resamples
            cells = bootstrap_each(own, len(truth), groups, times, seed)
        told = {c: None if np.isnan(e.value) else e for c, e in zip(COLUMNS, cells, strict=True)}
        return Row(system, kind, told, len(truth))

    def _samples(
        self, system: str, texts: Sequence[str], studies: Sequence[Study]
    ) -> list[SampleValues]:
        """Share of the 14 observations on which the two reports agree."""
        truth, read = self._labels(self.context.studies.values(studies, "T")), self._labels(texts)
        return [
            SampleValues(
                system,
                f"observations that agree, uncertain {way}",
                studies,
                (np.isin(truth, there) == np.isin(read, there)).mean(axis=1),
            )
            for way, there in READ_AS.items()
        ]
