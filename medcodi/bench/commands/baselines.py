"""Every image system of the papers on the same data: fidelity, findings, worth, copies, cost.

    medcodi bench baselines [--config RECIPE] [--systems class_ldm,pggan,...] [--seconds 100]
    [--steps N] [--batch-size 32] [--num-studies 240] [--num-worth 400] [--pipeline DIR]
    [key=value ...]

Trains each system for as many CPU seconds (or steps) on the frontal training images of the recipe's
prepared folder; one that is trained already is read. With a pipeline, its T>F stands in a row of
its own. Writes baselines.md, .json, .csv and the contact sheet baselines.png to results/NAME.
"""

from collections.abc import Sequence
from typing import Any

from medcodi.baselines.registry import SYSTEMS
from medcodi.bench.baselines import COLUMNS, QUALITY, WORTH, Budget, Comparison, write_csv
from medcodi.bench.command import (
    add_evaluation,
    bench_parser,
    device_name,
    listed,
    read_context,
    show,
)
from medcodi.evaluation.charts import image_grid, principal_components
from medcodi.evaluation.papers import published
from medcodi.evaluation.report import cell_text
from medcodi.evaluation.table import Row
from medcodi.files import jsonable
from medcodi.report.markdown import markdown_table

NUM_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("baselines", __doc__)
    add_evaluation(parser)
    parser.add_argument("--systems", type=listed(choices=SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--seconds", type=float, default=100.0, help="of training a system, CPU")
    parser.add_argument("--steps", type=int, help="in place of seconds")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--num-worth", type=int, default=400, help="images that a classifier sees")
    arguments = parser.parse_intermixed_args(arguments)
    context = read_context(arguments)
    budget = Budget(arguments.seconds, arguments.steps, arguments.batch_size)
    comparison = Comparison(context, budget, arguments.num_worth)
    rows = comparison.rows(arguments.systems)
    sides = comparison.sides
    told = {
        "recipe": context.recipe.name,
        "data": context.studies.data_hash,
        "seed": context.seed,
        "device": device_name("cpu"),
        "budget": budget,
        "num_worth": arguments.num_worth,
        "labels": context.labels.own.names,
        "training": len(sides.training),
        "held-out": len(sides.prompted),
        "control": len(sides.control),
        "rows": rows,
    }
    context.output.mkdir(parents=True, exist_ok=True)
    shown = {name: images[:NUM_SHOWN] for name, images in comparison.shown.items()}
    image_grid(shown, context.output / "baselines.png")
    flat = {name: images.reshape(len(images), -1) for name, images in comparison.shown.items()}
    principal_components(flat, context.output / "baselines_pixels.png")
    write_csv(rows, context.output / "baselines.csv")
    show(told, markdown([*rows, *_published()]), context.output, "baselines")


def _published() -> list[Row]:
    """Worth for training as Packhaeuser et al. print it, of real radiographs."""
    rows = published("T8 packhaeuser")
    return [Row(row.system, "paper", {WORTH: row.cells["AUROC macro"]}) for row in rows]


def markdown(rows: Sequence[Row]) -> str:
    """Two tables of Markdown: what the images are worth, then pairs, copies and cost."""
    tables = []
    for columns in (QUALITY, [c for c in COLUMNS if c not in QUALITY]):
        kept = [row for row in rows if any(c in row.cells for c in columns)]
        cells = [[r.system, *(_shown(r.cells.get(c)) for c in columns), r.n or ""] for r in kept]
        tables.append(markdown_table(("system", *columns, "N"), cells))
    return "\n\n".join(tables) + "\n"


def _shown(cell: Any) -> str:
    return "" if cell is None else cell_text(jsonable(cell))
