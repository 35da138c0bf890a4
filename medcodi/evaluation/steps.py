"""How many sampling steps does each route need? Routes of the phantom at several numbers of steps,
with the same seeds and the guidance of the recipe, each as a difference to many steps.

Too few steps can raise what a classifier reads, because smooth images are easy to read. Hence the
kernel distance to real images stands beside. Letters: F frontal, L lateral, T report.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.follow import METRICS, VIEWS, parse_route, reading, truth
from medcodi.evaluation.routes import patients
from medcodi.metrics.fidelity import kernel_distance
from medcodi.metrics.phantom_figures import change_figures
from medcodi.pipeline.solvers import build_solver
from medcodi.report.markdown import markdown_table

ROUTES = ("T>F", "L>F", "T>L", "F>T", "FL>T")
STEPS = (5, 8, 10, 15, 25)
REFERENCE = 50
KERNEL = "kernel distance to real images"
NUM_REAL = 400  # real images that distances are measured to


def step_rows(
    context: EvaluationContext,
    routes: Sequence[str] = ROUTES,
    steps: Sequence[int] = STEPS,
    reference: int = REFERENCE,
    solver: str | None = None,
) -> list[dict[str, Any]]:
    """One row a route, metric and number of steps: {route, steps, metric, n, value, difference}.

    `difference` {value, interval} is to `reference` steps and paired by study; the kernel distance
    has an `interval` of its own instead. `solver` is a name of `pipeline/solvers.py`, default the
    pipeline's own schedulers. ValueError for what is no route.
    """
    parsed = {route: parse_route(route) for route in routes}
    rows = []
    for route, (prompts, output) in parsed.items():
        studies = context.studies.held_out(sorted({*prompts, output}))
        about, groups = truth(studies), patients(studies)
        made = {
            count: _at(context, count, solver).generations.samples(
                prompts, (output,), studies=studies
            )
            for count in dict.fromkeys([*steps, reference])
        }
        read = {count: reading(context, output, values[output]) for count, values in made.items()}
        for count, values in made.items():
            figures = change_figures(
                METRICS[output],
                about,
                read[count],
                read[reference],
                groups,
                context.seed,
                context.settings.num_resamples,
            )
            if output in VIEWS:
                figures.append(_distance(context, output, studies, values[output]))
            rows += [{"route": route, "steps": count, **figure} for figure in figures]
    return rows


def _at(context: EvaluationContext, steps: int, solver: str | None) -> EvaluationContext:
    """The same pipeline and networks with another number of steps, and other schedulers."""
    recipe = copy.deepcopy(context.recipe)
    recipe.evaluation.num_inference_steps = steps
    changed = EvaluationContext(recipe, context.output, context.pipeline_dir)
    changed.networks, made = context.networks, context.generations
    changed.generations.pipeline = made.pipeline
    if solver is not None:
        pipe = copy.copy(made.pipeline)
        pipe.schedulers = {
            name: build_solver(solver, scheduler) for name, scheduler in pipe.schedulers.items()
        }
        changed.generations.pipeline = pipe
        changed.generations.model_hash = f"{made.model_hash}, {solver}"
    return changed


def _distance(
    context: EvaluationContext, view: str, studies: Sequence[Study], images: Sequence[np.ndarray]
) -> dict[str, Any]:
    reader = context.networks.phantom_reader(view)
    real = context.studies.images(context.studies.training([view], NUM_REAL), view)
    found = kernel_distance(
        reader.features(np.stack(images)),
        reader.features(real),
        num_resamples=context.settings.num_resamples,
        seed=context.seed,
    )
    interval = [found.low, found.high]
    return {"metric": KERNEL, "n": len(studies), "value": found.value, "interval": interval}


def losses(rows: Sequence[dict[str, Any]]) -> dict[int, list[str]]:
    """Number of steps -> the figures that are worse than with the reference's: the interval of the
    difference lies below 0."""
    found: dict[int, list[str]] = {row["steps"]: [] for row in rows}
    for row in rows:
        if "difference" in row and row["difference"]["interval"][1] < 0:
            found[row["steps"]].append(f"{row['route']}, {row['metric']}")
    return found


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A line a route and metric, a column a number of steps; a difference whose interval lies below
    0 is bold."""
    counts = sorted({row["steps"] for row in rows})
    by_line: dict[tuple[str, str, int], dict[int, str]] = {}
    for row in rows:
        line = by_line.setdefault((row["route"], row["metric"], row["n"]), {})
        line[row["steps"]] = _cell(row)
    head = ["route", "figure", "n", *(f"{count} steps" for count in counts)]
    cells = [[*key, *(line[count] for count in counts)] for key, line in by_line.items()]
    return markdown_table(head, cells) + "\n"


def _cell(row: dict[str, Any]) -> str:
    if "interval" in row:
        low, high = row["interval"]
        return f"{row['value']:.3f} [{low:.3f}, {high:.3f}]"
    change = row["difference"]
    low, high = change["interval"]
    shown = f"{change['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"{row['value']:.3f} ({f'**{shown}**' if high < 0 else shown})"
