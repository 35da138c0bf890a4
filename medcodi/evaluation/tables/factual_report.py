"""T5: do generated reports say what the study's own report says? F1 of the labeler's reading
(MedCoDi-M, Table 5). And do they agree with themselves? A report that affirms and denies one
finding can be right in its labels all the same."""

from collections.abc import Sequence

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.labels import NO_FINDING
from medcodi.evaluation.papers import published
from medcodi.evaluation.per_sample import SampleValues
from medcodi.evaluation.routes import REPORT_ROUTES, applicable, patients, report_routes, retrieved
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.labeler import POSITIVE, UNCERTAIN
from medcodi.labeler.priors import prior_mentions
from medcodi.metrics.classification import AVERAGES, f1_scores
from medcodi.metrics.retrieval import best_constant
from medcodi.metrics.statistics import Estimate, bootstrap_each, share_of, shuffled_each

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Lung Lesion",
    "Lung Opacity",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
    NO_FINDING,
)
CONTRADICTS = "contradicts itself"
PRIOR = "mentions a prior study"
SHARES = (CONTRADICTS, PRIOR)


@register_table
class FactualReport(EvaluationTable):
    """Truth: the labeler on the real report; what that hedges is masked. Not mentioned counts as
    absent."""

    id, title, needs = "T5", "Factual correctness of generated reports", ("pipeline", "T")
    version = 4

    def run(self, context: EvaluationContext) -> Result:
        routes, notes = applicable(context, REPORT_ROUTES)
        self.begin(context)
        rows: list[Row] = []
        samples: list[SampleValues] = []
        for name, prompts, output, studies, texts in report_routes(context, routes):
            rows.append(self._row(name, "ours", texts, studies))
            found = self._samples(name, texts, studies)
            rows[-1].cells |= {x.metric: share_of(x.values) for x in found if x.metric in SHARES}
            samples += found
            rows.append(self._shuffled(f"{name}, shuffled studies", texts, studies))
            nearest = retrieved(context, prompts, output, studies)
            rows.append(self._row(f"{name}, nearest training study", "baseline", nearest, studies))
        studies = context.studies.held_out("T")
        rows += self._baselines(studies) + self._ceiling(studies)
        real = self.context.studies.values(studies, "T")
        found = self._samples("real reports", real, studies)
        shares = {x.metric: share_of(x.values) for x in found if x.metric in SHARES}
        rows.append(Row("real reports", "real", shares, len(studies)))
        samples += found
        counts = np.nansum(self._truth(studies), axis=0)
        cells = {name: int(count) for name, count in zip(self.names, counts, strict=True)}
        rows.append(Row("positives among the real reports", "real", cells))
        rows += published("T5", (*self.names, *AVERAGES))
        notes += [
            f"Labeler: vocabulary {context.settings.vocabulary}. Truth: what it reads in the real "
            "report; hedged "
            "observations are masked, unmentioned ones count as absent. Averages are over the "
            "classes with a positive.",
            f"{CONTRADICTS}: share of reports in which the labeler finds one observation affirmed "
            "and denied, with Wilson's "
            f"interval. {PRIOR}: share of reports that speak of an earlier study or of a change "
            "since, which a model that sees one study cannot know.",
        ]
        columns = [*AVERAGES, *SHARES]
        figures = {
            f"{r.system}.{column}": r.value(column)
            for r in rows
            if r.kind == "ours"
            for column in columns
        }
        return Result(
            self.title,
            [*self.names, *columns],
            rows,
            len(studies),
            [context.seed],
            notes,
            figures,
            samples=samples,
        )

    def begin(self, context: EvaluationContext) -> None:
        """What the methods below read with: the context, and the names of findings."""
        self.context, columns = context, context.labels.labeler.columns
        known = [name for name in FINDINGS if name in columns]
        self.names = known if len(known) == len(FINDINGS) else list(columns)

    def _labels(self, texts: Sequence[str]) -> np.ndarray:
        return self.context.labels.labeler.label(texts)[self.names].to_numpy(float)

    def _samples(
        self, system: str, texts: Sequence[str], studies: Sequence[Study]
    ) -> list[SampleValues]:
        """By report: share of the known findings that are read as in the study's own, and whether
        it contradicts itself or mentions a prior study."""
        truth, read = self._truth(studies), self._labels(texts) == POSITIVE
        known = ~np.isnan(truth)
        with np.errstate(invalid="ignore"):
            agree = ((truth == read) & known).sum(axis=1) / known.sum(axis=1)
        contradicts = [bool(self.context.labels.labeler.contradictions(text)) for text in texts]
        prior = [bool(prior_mentions(text)) for text in texts]
        values = {"findings that agree": agree, CONTRADICTS: contradicts, PRIOR: prior}
        return [SampleValues(system, name, studies, v) for name, v in values.items()]

    def _truth(self, studies: Sequence[Study]) -> np.ndarray:
        labels = self._labels(self.context.studies.values(studies, "T"))
        return np.where(labels == UNCERTAIN, np.nan, (labels == POSITIVE).astype(float))

    def _row(self, system: str, kind: str, texts: Sequence[str], studies: Sequence[Study]) -> Row:
        return self._scored(
            system, kind, self._truth(studies), self._labels(texts) == POSITIVE, studies
        )

    def _scored(
        self, system: str, kind: str, truth: np.ndarray, read: np.ndarray, studies: Sequence[Study]
    ) -> Row:
        settings = self.context.settings
        estimates = bootstrap_each(
            lambda rows: f1_scores(truth[rows], read[rows]),
            len(truth),
            patients(studies),
            settings.num_resamples,
            self.context.seed,
        )
        return Row(system, kind, self._cells(estimates), len(truth))

    def _shuffled(self, system: str, texts: Sequence[str], studies: Sequence[Study]) -> Row:
        truth, read = self._truth(studies), self._labels(texts) == POSITIVE
        shuffles = min(self.context.settings.num_resamples, 200)
        cells = shuffled_each(
            lambda partner: f1_scores(truth[partner], read), len(truth), shuffles, self.context.seed
        )
        return Row(system, "floor", self._cells(cells), len(truth))

    def _cells(self, estimates: Sequence[Estimate]) -> dict:
        return {
            n: None if np.isnan(e.value) else e
            for n, e in zip((*self.names, *AVERAGES), estimates, strict=True)
        }

    def _baselines(self, studies: Sequence[Study]) -> list[Row]:
        training = self.context.studies.values(self.context.studies.training("T"), "T")
        stated = self._labels(training) == POSITIVE
        constant = training[best_constant(stated, stated)]
        drawn = np.random.default_rng(self.context.seed).integers(len(training), size=len(studies))
        return [
            self._row(
                "best constant training report", "baseline", [constant] * len(studies), studies
            ),
            self._row(
                "random training report (prior)", "baseline", [training[i] for i in drawn], studies
            ),
        ]

    def _ceiling(self, studies: Sequence[Study]) -> list[Row]:
        """The real report against the data set's own labels, where these are no reading of reports
        and share classes."""
        labels = self.context.labels.own
        shared = [name for name in self.names if labels and name in labels.names]
        if not shared or labels is self.context.labels.of_reports:
            return []
        truth = np.full((len(studies), len(self.names)), np.nan)
        truth[:, [self.names.index(n) for n in shared]] = labels.of(studies)[
            :, [labels.names.index(n) for n in shared]
        ]
        read = self._labels(self.context.studies.values(studies, "T")) == POSITIVE
        return [
            self._scored(f"real report against the {labels.source}", "real", truth, read, studies)
        ]
