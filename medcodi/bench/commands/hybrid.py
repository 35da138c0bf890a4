"""The hybrid study: outcome networks and coherence of image and row, by the study's method and by
medcodi.

    medcodi bench hybrid [--pipeline phantom] [--num-studies 1342] [--num-public 3000]
    [--num-test 2000] [--size 64] [--coder-steps 1500] [--epochs 300] [--steps 15] [--output DIR]

Phantoms only: no prepared folder is read. Coders learn from public phantoms, everything else from
four fifths of the private ones; the pipeline saw neither. Writes hybrid.md, hybrid.json and the
contact sheet hybrid.png.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medcodi.bench.command import bench_parser, show
from medcodi.bench.hybrid import study
from medcodi.bench.hybrid_pairs import Plan
from medcodi.evaluation.charts import image_grid
from medcodi.evaluation.report import cell_text
from medcodi.files import jsonable
from medcodi.pipeline import MedCoDiPipeline
from medcodi.report.markdown import markdown_table

NUM_SHOWN = 10


def main(arguments: Sequence[str] | None = None) -> None:
    parser, plan = bench_parser("hybrid", __doc__), Plan()
    parser.add_argument("--pipeline", default="phantom", help="default: %(default)s")
    parser.add_argument("--num-studies", type=int, default=plan.num_studies)
    parser.add_argument("--num-public", type=int, default=plan.num_public)
    parser.add_argument("--num-test", type=int, default=plan.num_test)
    parser.add_argument("--size", type=int, default=plan.size, help="pixels")
    parser.add_argument("--coder-steps", type=int, default=plan.coder_steps)
    parser.add_argument("--epochs", type=int, default=plan.epochs, help="of CTGAN")
    parser.add_argument("--steps", type=int, default=plan.num_inference_steps)
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--output", type=Path, default=Path("results/hybrid"))
    given = vars(parser.parse_args(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    output, pipeline, steps = given.pop("output"), given.pop("pipeline"), given.pop("steps")
    pipe = MedCoDiPipeline.from_pretrained(pipeline)
    pipe.set_progress_bar_config(disable=True)
    size = pipe.family.modality("frontal").args.size
    plan = Plan(num_inference_steps=steps, render_size=size, **given)
    tables, sets = study(plan, pipe)
    output.mkdir(parents=True, exist_ok=True)
    image_grid({name: of.images[:NUM_SHOWN] for name, of in sets.items()}, output / "hybrid.png")
    show({"plan": plan, "model": pipe.model_hash, **tables}, markdown(tables), output, "hybrid")


def markdown(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    parts = []
    for rows in tables.values():
        head = list(rows[0])
        cells = [[_shown(row[key]) for key in head] for row in rows]
        parts.append(markdown_table(head, cells))
    return "\n\n".join(parts) + "\n"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else cell_text(jsonable(value))
