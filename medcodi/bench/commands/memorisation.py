"""How much does a diffusion model memorise, by the size of its data and by duplicates in it?

    medcodi bench memorisation [--sizes 200,1000,5000] [--copies 1,10,100] [--planted 20]
    [--size 32] [--steps 2000] [--num-samples 200] [--output DIR]

Trains one small denoiser of frontal phantoms a size, for equal steps from equal first weights, with
phantoms that stand several times, and measures nearest records and membership. Phantoms only: no
prepared folder is read. Writes memorisation.md and memorisation.json.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medcodi.bench.command import bench_parser, listed, show
from medcodi.bench.memorisation import COLUMNS, Plan, memorisation
from medcodi.evaluation.report import cell_text
from medcodi.files import jsonable
from medcodi.report.markdown import markdown_table


def main(arguments: Sequence[str] | None = None) -> None:
    parser, plan = bench_parser("memorisation", __doc__), Plan()
    parser.add_argument("--sizes", type=listed(int), default=plan.sizes, help="phantoms")
    parser.add_argument("--copies", type=listed(int), default=plan.copies)
    parser.add_argument("--planted", type=int, default=plan.planted, help="phantoms a copies")
    parser.add_argument("--size", type=int, default=plan.size, help="pixels")
    parser.add_argument("--steps", type=int, default=plan.num_steps)
    parser.add_argument("--autoencoder-steps", type=int, default=plan.autoencoder_steps)
    parser.add_argument("--num-public", type=int, default=plan.num_public)
    parser.add_argument("--num-samples", type=int, default=plan.num_samples)
    parser.add_argument("--num-strangers", type=int, default=plan.num_strangers)
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--output", type=Path, default=Path("results/memorisation"))
    arguments = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    given = vars(arguments)
    output, steps = given.pop("output"), given.pop("steps")
    plan = Plan(num_steps=steps, **given)
    rows = memorisation(plan)
    show({"plan": plan, "rows": rows}, markdown(rows), output, "memorisation")


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table with a row a size and number of copies."""
    cells = [[cell_text(jsonable(row[key])) for key in COLUMNS] for row in rows]
    return markdown_table(COLUMNS, cells) + "\n"
