"""Do generated parts follow what is kept: regions, columns, sentences?

    medcodi bench keep [--config RECIPE] [--num-studies 48] [--pipeline DIR]
    [--what region,row,report] [key=value ...]

With the phantom's truth: effusions added and erased in their region, each column of a row given the
others, sentences about effusions given the rest. Beside every figure a floor (nothing done, or no
condition) and the same figure of the real value. Writes keep.json, keep.md and strips of before,
mask, after and the true image (pictures/keep_regions.png) to results/NAME. Last line of stdout: one
JSON document.
"""

import time
from collections.abc import Sequence
from typing import Any

from medcodi.bench.command import add_evaluation, bench_parser, listed, read_context, show
from medcodi.evaluation.keep_parts import report_figures, row_figures
from medcodi.evaluation.keep_regions import region_figures
from medcodi.files import jsonable
from medcodi.report.markdown import markdown_table

MEASURES = {
    "region": (("F", "T"), region_figures),
    "row": (("table",), row_figures),
    "report": (("F", "T"), report_figures),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("keep", __doc__)
    add_evaluation(parser)
    parser.add_argument("--what", type=listed(choices=MEASURES), default=list(MEASURES))
    arguments = parser.parse_intermixed_args(arguments)
    context = read_context(arguments)
    rows, seconds = [], {}
    for what in arguments.what:
        letters, figures = MEASURES[what]
        start = time.perf_counter()
        rows += jsonable(figures(context, context.studies.held_out(letters)))
        seconds[what] = round(time.perf_counter() - start, 1)
    told = {
        "recipe": context.recipe.name,
        "model_hash": context.generations.model_hash,
        "seed": context.seed,
        "num_inference_steps": context.settings.num_inference_steps,
        "seconds": seconds,
        "rows": rows,
    }
    head = ("figure", "generated", "95 %", "floor", "real", "N")
    show(told, markdown_table(head, map(_cells, rows)) + "\n", context.output, "keep")


def _cells(row: dict[str, Any]) -> list[object]:
    low, high = row.get("interval") or (None, None)
    interval = "-" if low is None else f"{low:.3f} to {high:.3f}"
    value, floor, real = (_number(row.get(key)) for key in ("value", "floor", "real"))
    return [row["figure"], value, interval, floor, real, row["n"]]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
