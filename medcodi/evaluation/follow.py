"""Routes and joint settings of the phantom, read with its truth: what the tables `follow` and
`joint` measure, and whoever switches a part of a pipeline off to see what it gave.

Legend: N studies. Letters: F frontal, L lateral, T report, table the row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.routes import patients, retrieved, route_name
from medcodi.metrics import phantom_figures, phantom_metrics, phantom_readings
from medcodi.metrics.phantom_readings import REPORT_FINDINGS, Reading
from medcodi.metrics.retrieval import best_constant

VIEWS = ("F", "L")
METRICS = {
    "F": phantom_metrics.IMAGE_METRICS,
    "L": phantom_metrics.IMAGE_METRICS,
    "T": phantom_metrics.REPORT_METRICS,
    "table": phantom_metrics.TABLE_METRICS,
}
ROUTES = ("T>F", "LT>F", "L>F", "T>L", "FT>L", "F>L", "F>T", "FL>T", "FT>table")
# What is generated together from what, and the pairs of outputs that are compared.
SETTINGS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "unconditional": ((), (("F", "L"), ("F", "T"))),
    "T>FL": (("T",), (("F", "L"),)),
    "L>FT": (("L",), (("F", "T"),)),
    "F>LT": (("F",), (("L", "T"),)),
}
ORDER = ("T", "F", "L")  # of outputs that are generated one after the other


def parse_route(route: str) -> tuple[tuple[str, ...], str]:
    """ "FL>T" -> (("F", "L"), "T"). ValueError for what is no route to one output."""
    prompts, separator, output = route.partition(">")
    known = separator and output in METRICS and prompts and set(prompts) <= set("FLT")
    if not known or output in prompts:
        raise ValueError(f"a route reads as {', '.join(ROUTES)}; got {route!r}")
    return tuple(prompts), output


def reading(context: EvaluationContext, letter: str, values: Sequence[Any]) -> Reading:
    """What N values of a modality show."""
    if letter in VIEWS:
        images = np.stack(values)
        return phantom_readings.image_reading(context.networks.phantom_reader(letter), images)
    read = {"T": phantom_readings.report_reading, "table": phantom_readings.table_reading}
    return read[letter](values)


def truth(studies: Sequence[Study]) -> Reading:
    return phantom_readings.truth_reading([study.truth for study in studies])


def route_figures(
    context: EvaluationContext,
    prompts: Sequence[str],
    output: str,
    studies: Sequence[Study],
    generated: Sequence[Any],
) -> list[dict[str, Any]]:
    """Figures of N `generated` values of a route, one prompted by each of `studies`; see
    `phantom_figures.follow_figures`."""
    outputs = phantom_figures.Outputs(
        reading(context, output, generated),
        reading(context, output, context.studies.values(studies, output)),
        reading(context, output, retrieved(context, prompts, output, studies)),
        _constant_report(context, len(studies)) if output == "T" else None,
    )
    return phantom_figures.follow_figures(
        route_name(prompts, output),
        METRICS[output],
        truth(studies),
        outputs,
        patients(studies),
        context.seed,
        context.settings.num_resamples,
    )


def pair_figures(
    context: EvaluationContext,
    setting: str,
    pair: tuple[str, str],
    studies: Sequence[Study],
    joint: Mapping[str, Sequence[Any]],
    independent: Mapping[str, Sequence[Any]],
    in_order: Mapping[str, Sequence[Any]] | None = None,
) -> list[dict[str, Any]]:
    """Agreement of two outputs, letter -> N values, generated jointly and independently from the
    same seeds, and `in_order`, one after the other; see `phantom_figures.coherence_figures`."""
    real = {letter: context.studies.values(studies, letter) for letter in pair}
    read = lambda values: tuple(reading(context, letter, values[letter]) for letter in pair)
    return phantom_figures.coherence_figures(
        setting,
        " and ".join(pair),
        read(joint),
        read(independent),
        read(real),
        context.seed,
        context.settings.num_resamples,
        None if in_order is None else read(in_order),
    )


def _constant_report(context: EvaluationContext, count: int) -> Reading:
    """The training report that scores best when everybody gets it."""
    studies = context.studies.training(["T"])
    reports = context.studies.values(studies, "T")
    read, true = phantom_readings.report_reading(reports), truth(studies)
    read, true = (np.stack([of[key] for key in REPORT_FINDINGS], axis=1) > 0 for of in (read, true))
    return phantom_readings.report_reading([reports[best_constant(read, true)]] * count)
