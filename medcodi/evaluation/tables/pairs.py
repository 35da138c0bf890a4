"""pairs: what generated image-report pairs are worth for a small report generator from scratch,
tested on real images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.records import real_test
from medcodi.evaluation.routes import patients
from medcodi.evaluation.table import Result, Row, register_table
from medcodi.evaluation.tables.factual_report import FactualReport
from medcodi.evaluation.worth import SPREAD
from medcodi.labeler import POSITIVE
from medcodi.metrics.classification import AVERAGES, f1_scores
from medcodi.metrics.networks.report_writer import FEWEST, ReportWriter
from medcodi.metrics.statistics import bootstrap_each
from medcodi.metrics.utility import paired_test

DIFFERENCE, P = "micro, difference", "p"
REAL = "trained on real pairs"
Values = tuple[np.ndarray, list[str]]  # images (N, H, W) in [0, 1] and their reports


@register_table
class Pairs(FactualReport):
    """Reports of held-out images, read by the labeler as in T5. What they are compared with is the
    same generator, trained on as many real pairs."""

    id, title = "pairs", "Worth of generated image-report pairs for a report generator"
    needs, version = ("pipeline", "F", "T"), 1

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return {
            "num_pairs": 400,
            "num_test": 240,
            "num_steps": 2 * context.settings.network_steps,
            "seeds": [0],
            "order": ["T", "F"],  # of generation; empty: together
        }

    def run(self, context: EvaluationContext) -> Result:
        options = self.options(context)
        self.begin(context)
        sets, notes = self._sets(context, options)
        test = real_test(context, ["F", "T"], options["num_test"])
        images, truth = context.studies.images(test, "F"), self._truth(test)
        read = {}
        for name, (_, values) in sets.items():
            writers = [ReportWriter(s).fit(*values, options["num_steps"]) for s in options["seeds"]]
            read[name] = np.stack([self._labels(w.write(images)) == POSITIVE for w in writers])
        rows = []
        for name, (kind, values) in sets.items():
            cells = self._mean_scores(truth, read[name], test)
            if name != REAL:
                cells |= self._compared(truth, read[name], read[REAL], test)
            rows.append(Row(name, kind, cells, len(values[1])))
        rows += self._baselines(test)
        notes += [
            f"A convolutional encoder and a recurrent decoder, {options['num_steps']} steps for "
            f"each set, mean of {len(options['seeds'])} seeds; N are pairs for training. Tested on "
            f"{len(test)} real held-out images: the labeler's reading of what is written against "
            "its reading of the study's own report, as in T5.",
            f"Difference and p: of micro F1, against {REAL}, paired by test patient. "
            f"{SPREAD.capitalize()}: of micro F1.",
        ]
        columns = [*self.names, *AVERAGES, SPREAD, DIFFERENCE, P]
        figures = {f"{row.system}.micro": row.value("micro") for row in rows}
        seeds = [context.seed, *options["seeds"]]
        return Result(self.title, columns, rows, len(test), seeds, notes, figures)

    def _sets(
        self, context: EvaluationContext, options: dict[str, Any]
    ) -> tuple[dict[str, tuple[str, Values]], list[str]]:
        """Name -> kind and pairs of every training set."""
        studies = context.studies.training(["F", "T"])
        count = min(options["num_pairs"], len(studies) // 2)
        if count < FEWEST:
            raise ValueError(
                f"expected {2 * FEWEST} training studies or more with image and report, got "
                f"{len(studies)}"
            )
        first, more = studies[:count], studies[: 2 * count]
        samples = context.generations.samples((), ["F", "T"], studies=first, order=options["order"])
        whole = [i for i, text in enumerate(samples["T"]) if text.strip()]
        made = np.stack(samples["F"])[whole], [samples["T"][i] for i in whole]
        values = lambda of: (context.studies.images(of, "F"), context.studies.values(of, "T"))
        real = values(first)
        order = np.random.default_rng(context.seed).permutation(count)
        sets = {
            REAL: ("real", real),
            "trained on generated pairs": ("ours", made),
            "trained on real and generated pairs": (
                "ours",
                (np.concatenate([real[0], made[0]]), [*real[1], *made[1]]),
            ),
            "trained on twice as many real pairs": ("real", values(more)),
            "trained on real pairs, reports shuffled": (
                "floor",
                (real[0], [real[1][i] for i in order]),
            ),
        }
        how = (
            "one after the other: " + ", ".join(options["order"]) if options["order"] else "jointly"
        )
        notes = [f"Generated pairs come from nothing, {how}."]
        if len(whole) < count:
            notes.append(f"{count - len(whole)} generated reports are empty: left out.")
        return sets, notes

    def _mean_scores(
        self, truth: np.ndarray, read: np.ndarray, studies: Sequence[Study]
    ) -> dict[str, Any]:
        """F1 of each finding and the averages, mean over the readings (R, N, K) of R seeds."""
        settings = self.context.settings
        estimates = bootstrap_each(
            lambda rows: np.mean([f1_scores(truth[rows], run[rows]) for run in read], axis=0),
            len(truth),
            patients(studies),
            min(settings.num_resamples, 200),
            self.context.seed,
        )
        micro = [_micro(truth, run) for run in read]
        spread = {SPREAD: float(np.std(micro, ddof=1))} if len(micro) > 1 else {}
        return self._cells(estimates) | spread

    def _compared(
        self, truth: np.ndarray, read: np.ndarray, other: np.ndarray, studies: Sequence[Study]
    ) -> dict[str, Any]:
        def figure(runs: np.ndarray) -> Any:
            return lambda rows: float(np.mean([_micro(truth[rows], run[rows]) for run in runs]))

        resamples = min(self.context.settings.num_resamples, 200)
        found = paired_test(
            figure(read), figure(other), len(truth), patients(studies), resamples, self.context.seed
        )
        return {DIFFERENCE: found.difference, P: found.p}


def _micro(truth: np.ndarray, read: np.ndarray) -> float:
    return float(f1_scores(truth, read)[truth.shape[1] + AVERAGES.index("micro")])
