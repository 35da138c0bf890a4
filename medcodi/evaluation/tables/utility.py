"""T8 to T11, A3: what synthetic images are worth as training data for a classifier from scratch,
tested on real images."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from medcodi.evaluation.bench import Bench, bench_of, bench_options
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.table import EvaluationTable, Result, register_table
from medcodi.evaluation.worth import SCORES, SPREAD, Part, anonymisation, imbalance, scarcity


def _result(title: str, bench: Bench, parts: Mapping[str, Part]) -> Result:
    rows = [
        dataclasses.replace(row, system=f"{name}{row.system}")
        for name, part in parts.items()
        for row in part[0]
    ]
    found = dict.fromkeys(column for row in rows for column in row.cells)
    columns = [c for c in found if c not in SCORES] + [c for c in SCORES if c in found]
    positive = ", ".join(
        f"{n} {int(np.nansum(c))}" for n, c in zip(bench.names, bench.test.labels.T, strict=True)
    )
    about = [
        f"{bench.settings.network} from scratch on {bench.context.studies.name(bench.letter)} "
        "images, mean of "
        f"{len(bench.options['seeds'])} seeds; a "
        "fifth of each training set stops it early and sets the thresholds of F1. Labels: "
        f"{bench.context.labels.own.source}.",
        f"{len(bench.real)} training studies prompt as many synthetic images by their reports; "
        f"tested on {len(bench.test)} "
        f"real held-out images (positive: {positive}). Findings without both classes on either "
        "side are left out.",
        "Retrieved: real images of the nearest reports among other training studies; other real: "
        "real images of other "
        "training studies, with their own labels. Micro averages pool findings of unequal "
        "frequency: a constant has more "
        "than .5 there.",
        f"Intervals, differences and p resample test patients. {SPREAD.capitalize()}: of the macro "
        "figure, over trainings "
        "with other validation images, order and start; a difference below it may be one of these.",
    ]
    figures = {
        f"{name}{key}": value for name, part in parts.items() for key, value in part[1].items()
    }
    notes = about + [note for part in parts.values() for note in part[2]]
    seeds = [bench.context.seed, *bench.options["seeds"]]
    return Result(title, columns, rows, len(bench.test), seeds, notes, figures)


class _Utility(EvaluationTable):
    """One protocol on frontal images."""

    needs, version = ("pipeline", "F", "T", "labels"), 2
    protocol: Callable[[Bench], Part]

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return bench_options(context)

    def run(self, context: EvaluationContext) -> Result:
        bench = bench_of(self, context, "F")
        return _result(self.title, bench, {"": type(self).protocol(bench)})


@register_table
class Anonymisation(_Utility):
    id, title = "T8", "Anonymisation: trained on synthetic images alone"
    protocol = anonymisation


@register_table
class Imbalance(_Utility):
    id, title = "T10", "Imbalance: positives filled up with synthetic images"
    also, protocol = ("T9",), imbalance


@register_table
class Scarcity(_Utility):
    id, title = "T11", "Scarcity: real images completed by synthetic ones"
    protocol = scarcity


@register_table
class Lateral(EvaluationTable):
    """The three protocols on lateral images."""

    id, title = "A3", "Anonymisation, imbalance and scarcity on lateral images"
    needs, version = ("pipeline", "L", "T", "labels"), 3
    also = ("A4", "A5")  # the appendix counts them A3 to A5

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return bench_options(context)

    def run(self, context: EvaluationContext) -> Result:
        bench = bench_of(self, context, "L")
        parts = {"T8: ": anonymisation(bench), "": imbalance(bench), "T11: ": scarcity(bench)}
        return _result(self.title, bench, parts)
