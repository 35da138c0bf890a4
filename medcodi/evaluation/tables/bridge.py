"""What the prompt says, read in the output, also where no study has both: the source of the labels
is the prompt's own study. So a route is measured that only the shared space joins (MedCoDi-M
section 2.1), such as reports of one hospital and images of another.

Legend: N studies. Letters: F frontal, T report, table the row.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV

from medcodi.config_io import unknown_key
from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.labels import ColumnLabels
from medcodi.evaluation.routes import patients
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.labeler import POSITIVE
from medcodi.metrics.statistics import Estimate, auc, bootstrap, kappa, pearson, shuffled_each

READ_SIDE = 32  # pixels a side that a number of the row is read from
LEAST = 2  # rows of each class, or known numbers, that a figure needs


@register_table
class Bridge(EvaluationTable):
    """From table rows and from reports to frontal images, and from frontal images to both."""

    id, title = "bridge", "What prompts say, in outputs that no study shows beside them"
    needs = ("pipeline", "labels", "F", "T", "table")

    def reasons(self, context: EvaluationContext) -> list[str]:
        found = super().reasons(context)
        if not found and not isinstance(context.labels.own, ColumnLabels):
            found = ["its labels are columns of the table: evaluation.labels names none"]
        return found

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        """`findings`: label -> observation of the labeler that says the same in a report."""
        return {"findings": {}}

    def run(self, context: EvaluationContext) -> Result:
        self.context, self.labels = context, context.labels.own
        self.findings: dict[str, str] = self.options(context)["findings"]
        for name in self.findings:
            if name not in self.labels.names:
                raise unknown_key(name, self.labels.names, "evaluation.tables.bridge.findings")
        rows = [*self._images(), *self._rows_of_images(), *self._reports()]
        columns = ["figure", "generated", "shuffled", "real", "real, shuffled", "positives"]
        figures = {f"{r.system}.{r.cells['figure']}": r.value("generated") for r in rows}
        count = len(context.studies.held_out("F"))
        notes = [
            f"Labels: {self.labels.source}, those of the study that gave the prompt. Images are "
            "read by networks that the suite trains on real training images, reports by the "
            "labeler; numbers of a row by a ridge regression on the image. Real: the same reading "
            "of real values, with the labels of their own studies; these are other studies where "
            "no study has both."
        ]
        return Result(self.title, columns, rows, count, [context.seed], notes, figures)

    def _images(self) -> list[Row]:
        """Routes to frontal images: AUC of each label, and how well each number can be read."""
        context, rows = self.context, []
        network = context.networks.classifier("F", self.labels)
        readers = self._readers()
        real = context.studies.held_out("F")
        real_images = context.studies.images(real, "F")
        for prompts in (("table",), ("T",)):
            studies = context.studies.held_out(prompts)
            made = np.stack(context.generations.samples(prompts, "F", studies=studies)["F"])
            told, shown = network.probabilities(made), network.probabilities(real_images)
            for k, name in enumerate(self.labels.names):
                generated = (self._label(studies, k), told[:, k], studies)
                rows += self._row(
                    f"{prompts[0]}>F",
                    f"{name}: AUC",
                    auc,
                    generated,
                    (self._label(real, k), shown[:, k], real),
                )
            for name, read in readers.items():
                rows += self._row(
                    f"{prompts[0]}>F",
                    f"{name}: r",
                    pearson,
                    (self._number(studies, name), read(made), studies),
                    (self._number(real, name), read(real_images), real),
                )
        return rows

    def _rows_of_images(self) -> list[Row]:
        """F>table: agreement of the generated row with the study's own."""
        table = self.context.studies.name("table")
        studies = self.context.studies.held_out(["F", "table"])
        made = self.context.generations.samples("F", ["table"], studies=studies)["table"]
        written = [
            replace(s, values={**s.values, table: row})
            for s, row in zip(studies, made, strict=True)
        ]
        rows = []
        for k, name in enumerate(self.labels.names):
            pair = (self._label(studies, k), self._label(written, k), studies)
            rows += self._row("F>table", f"{name}: kappa", kappa, pair)
        for name in self._numbers():
            pair = (self._number(studies, name), self._number(written, name), studies)
            rows += self._row("F>table", f"{name}: r", pearson, pair)
        return rows

    def _reports(self) -> list[Row]:
        """F>T: the labeler on generated reports against the labels of the image's study."""
        context, rows = self.context, []
        studies, real = context.studies.held_out("F"), context.studies.held_out("T")
        texts = context.generations.samples("F", "T", studies=studies)["T"]
        told = context.labels.labeler.label(texts)
        shown = context.labels.labeler.label(context.studies.values(real, "T"))
        for name, observation in self.findings.items():
            if observation not in told.columns:
                known = list(told.columns)
                raise unknown_key(observation, known, "evaluation.tables.bridge.findings")
            k = self.labels.names.index(name)
            read = lambda labels, column=observation: (labels[column] == POSITIVE).to_numpy(float)
            generated = (self._label(studies, k), read(told), studies)
            real_ones = (self._label(real, k), read(shown), real)
            rows += self._row("F>T", f"{name}: kappa", kappa, generated, real_ones)
        return rows

    def _label(self, studies: Sequence[Study], column: int) -> np.ndarray:
        return self.labels.of(studies)[:, column]

    def _numbers(self) -> list[str]:
        table = self.context.studies.name("table")
        schema = self.context.studies.split("train").schemas[table]
        return [c.name for c in schema.columns if c.type in ("numeric", "integer")]

    def _number(self, studies: Sequence[Study], column: str) -> np.ndarray:
        table = self.context.studies.name("table")
        values = [(s.values.get(table) or {}).get(column) for s in studies]
        return np.array([np.nan if v is None else v for v in values], float)

    def _readers(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """Column -> images (N, H, W) to its number (N,), by ridge regression on real training
        images."""
        studies = self.context.studies.training(["F", "table"])
        pixels = _coarse(self.context.studies.images(studies, "F"))
        found = {}
        for name in self._numbers():
            values = self._number(studies, name)
            known = ~np.isnan(values)
            if known.sum() > LEAST:
                line = RidgeCV(np.logspace(-1, 5, 13)).fit(pixels[known], values[known])
                found[name] = lambda images, line=line: line.predict(_coarse(images))
        return found

    def _row(
        self, route: str, figure: str, statistic: Callable, generated: tuple, real: tuple = ()
    ) -> list[Row]:
        """One row; none where the labels of what was generated do not allow the figure."""
        found = self._estimates(statistic, *generated)
        if found is None:
            return []
        cells = {"figure": figure, "generated": found[0], "shuffled": found[1]}
        beside = self._estimates(statistic, *real) if real else None
        if beside is not None:
            cells |= {"real": beside[0], "real, shuffled": beside[1]}
        if statistic is not pearson:
            cells["positives"] = int(np.nansum(generated[0]))
        return [Row(route, "ours", cells, found[0].n)]

    def _estimates(
        self, statistic: Callable, truth: np.ndarray, read: np.ndarray, studies: Sequence[Study]
    ) -> tuple[Estimate, float] | None:
        """Over the studies whose truth and reading are known: the figure, and its floor."""
        known = np.flatnonzero(~np.isnan(truth) & ~np.isnan(read))
        values, counts = np.unique(truth[known], return_counts=True)
        if len(values) < 2 or (statistic is not pearson and counts.min() < LEAST):
            return None
        truth, read = truth[known], read[known]
        groups, settings = patients([studies[i] for i in known]), self.context.settings
        value = bootstrap(
            lambda rows: statistic(truth[rows], read[rows]),
            len(known),
            groups,
            settings.num_resamples,
            self.context.seed,
        )
        (floor,) = shuffled_each(
            lambda partner: [statistic(truth[partner], read)],
            len(known),
            min(settings.num_resamples, 200),
            self.context.seed,
        )
        return value, floor.value


def _coarse(images: np.ndarray) -> np.ndarray:
    """(N, H, W) -> (N, pixels): means of READ_SIDE x READ_SIDE blocks."""
    count, height, width = images.shape
    rows, columns = max(height // READ_SIDE, 1), max(width // READ_SIDE, 1)
    cut = images[:, : height // rows * rows, : width // columns * columns]
    blocks = cut.reshape(count, height // rows, rows, width // columns, columns)
    return blocks.mean(axis=(2, 4)).reshape(count, -1)
