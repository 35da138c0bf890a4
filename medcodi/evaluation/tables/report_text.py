"""T4 and A2: are generated reports worded like the study's own? BLEU-1 to 4 (MedCoDi-M, Tables 4
and A2)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.per_sample import SampleValues, write_pairs
from medcodi.evaluation.routes import REPORT_ROUTES, applicable, patients, report_routes, retrieved
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.bleu import ORDERS, bleu_counts, score
from medcodi.metrics.statistics import Estimate, bootstrap_each

DEFINITIONS = {"sacrebleu": "BLEU-{n}", "coco": "BLEU-{n} (coco)"}
COLUMNS = [heading.format(n=n) for heading in DEFINITIONS.values() for n in range(1, ORDERS + 1)]


@register_table
class ReportText(EvaluationTable):
    """One reference a study: its own report."""

    id, title, also, needs = "T4", "BLEU of generated reports", ("A2",), ("pipeline", "T")
    version = 3

    def run(self, context: EvaluationContext) -> Result:
        routes, notes = applicable(context, REPORT_ROUTES)
        rows: list[Row] = []
        samples: list[SampleValues] = []
        for name, prompts, output, studies, texts in report_routes(context, routes):
            real = context.studies.values(studies, output)
            rows.append(self._row(context, name, "ours", texts, real, studies))
            samples += _sentence_bleu(name, texts, real, studies)
            pairs = context.output / "reports" / f"{'+'.join(prompts)}_to_{output}.csv"
            write_pairs(pairs, studies, real, texts)
            rows.append(
                self._row(
                    context, f"{name}, shuffled studies", "floor", _rotated(texts), real, studies
                )
            )
            nearest = retrieved(context, prompts, output, studies)
            rows.append(
                self._row(
                    context, f"{name}, nearest training study", "baseline", nearest, real, studies
                )
            )
        studies = context.studies.held_out("T")
        rows += self._baselines(context, studies) + self._within_studies(context, notes)
        rows += published("T4")
        notes += [
            "BLEU-n: sacrebleu's definition (tokenizer 13a, lower case, no smoothing). BLEU-n "
            "(coco): coco-caption's "
            "definition on lower-cased words without punctuation. Corpus scores; intervals by "
            "patient. The papers do not "
            "say which definition they use. samples/T4.csv has BLEU of each report alone; "
            "reports/*.csv has real and generated reports side by side.",
            "Scans of one study: the report from one view, with the report from the other view as "
            "its reference.",
        ]
        figures = {
            f"{row.system}.{c}": row.value(c)
            for row in rows
            if row.kind != "paper"
            for c in row.cells
        }
        return Result(
            self.title,
            COLUMNS,
            rows,
            len(studies),
            [context.seed, context.seed + 1],
            notes,
            figures,
            samples=samples,
        )

    def _row(
        self,
        context: EvaluationContext,
        system: str,
        kind: str,
        texts: Sequence[str],
        references: Sequence[str],
        studies: Sequence[Study],
    ) -> Row:
        cells: dict[str, Estimate] = {}
        for definition, heading in DEFINITIONS.items():
            counts = bleu_counts(texts, [[reference] for reference in references], definition)
            estimates = bootstrap_each(
                lambda rows, c=counts, d=definition: score(c, d, rows),
                len(texts),
                patients(studies),
                context.settings.num_resamples,
                context.seed,
            )
            cells |= {
                heading.format(n=n): estimate for n, estimate in enumerate(estimates, start=1)
            }
        return Row(system, kind, cells)

    def _baselines(self, context: EvaluationContext, studies: list[Study]) -> list[Row]:
        """What knows nothing of the study: the most frequent training report, and one drawn from
        the training split."""
        real, training = (
            context.studies.values(studies, "T"),
            context.studies.values(context.studies.training("T"), "T"),
        )
        constant = Counter(training).most_common(1)[0][0]
        drawn = [
            training[i]
            for i in np.random.default_rng(context.seed).integers(len(training), size=len(studies))
        ]
        systems = {
            "most frequent training report": [constant] * len(studies),
            "random training report (prior)": drawn,
        }
        return [
            self._row(context, name, "baseline", texts, real, studies)
            for name, texts in systems.items()
        ]

    def _within_studies(self, context: EvaluationContext, notes: list[str]) -> list[Row]:
        """A2: reports from several scans of a study against each other, and against a second sample
        from the same scan."""
        studies = [] if context.missing("FLT") else context.studies.held_out("FLT")
        if not studies:
            notes.append("Scans of one study: no held-out study has both views and a report.")
            return []
        first, second = (
            context.generations.samples(view, "T", studies=studies)["T"] for view in "FL"
        )
        again = context.generations.samples("F", "T", seed=context.seed + 1, studies=studies)["T"]
        return [
            self._row(
                context, "scans of one study, F>T against L>T", "ours", first, second, studies
            ),
            self._row(context, "one scan twice, F>T against F>T", "ours", first, again, studies),
            self._row(
                context, "scans of different studies", "floor", first, _rotated(second), studies
            ),
        ]


def _sentence_bleu(
    system: str, texts: Sequence[str], references: Sequence[str], studies: Sequence[Study]
) -> list[SampleValues]:
    """BLEU-1..4 of each report alone, without smoothing: their mean is not the corpus score."""
    samples = []
    for definition, heading in DEFINITIONS.items():
        counts = bleu_counts(texts, [[reference] for reference in references], definition)
        scores = [score(counts, definition, np.array([i])) for i in range(len(texts))]
        samples += [
            SampleValues(system, heading.format(n=n), studies, column)
            for n, column in enumerate(np.array(scores).T, start=1)
        ]
    return samples


def _rotated(texts: Sequence[str]) -> list[str]:
    """Every text moved to the next study: no study keeps its own."""
    return [*texts[1:], texts[0]]
