"""What does a privacy filter find, and what does it cost?

    medcodi privacy fit PREPARED --output FILTER
    medcodi bench filter --filter FILTER [--config RECIPE] [--pipeline DIR] [--num-studies 50]
    [--num-worth 100] [--planted 100] [--max-draws 20] [key=value ...]

Planted copies of training images, exact and changed, beside images of other patients; and T>F of
the pipeline with the filter and without, by the same prompts and seeds: fidelity, diversity, the
findings that were asked for, worth as training data, nearest training images. Writes filter.md and
filter.json to results/NAME.
"""

from collections.abc import Sequence
from pathlib import Path

from medcodi.bench.baselines import COPIES, QUALITY
from medcodi.bench.command import add_evaluation, bench_parser, read_context, show
from medcodi.bench.filter_cost import KEPT, MAX_DRAWS, REFUSED, filter_rows, planted_rows
from medcodi.evaluation.report import cell_text
from medcodi.evaluation.table import Row
from medcodi.files import jsonable
from medcodi.privacy.filter import PrivacyFilter
from medcodi.report.markdown import markdown_table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("filter", __doc__)
    add_evaluation(parser)
    parser.add_argument("--filter", type=Path, required=True, help="of medcodi privacy fit")
    parser.add_argument("--num-worth", type=int, default=100, help="images that a classifier sees")
    parser.add_argument("--planted", type=int, default=100, help="copies of each kind")
    parser.add_argument("--max-draws", type=int, default=MAX_DRAWS)
    arguments = parser.parse_intermixed_args(arguments)
    privacy = PrivacyFilter.load(arguments.filter)
    context = read_context(arguments)
    planted = planted_rows(context, privacy, arguments.planted)
    rows, comparison = filter_rows(context, privacy, arguments.num_worth, arguments.max_draws)
    told = {
        "recipe": context.recipe.name,
        "model": context.generations.model_hash,
        "seed": context.seed,
        "filter": privacy.about,
        "held-out": len(comparison.sides.prompted),
        "planted": planted,
        "rows": rows,
    }
    text = markdown_table(("set", REFUSED), [[r["set"], _cell(r[REFUSED])] for r in planted])
    show(told, f"{text}\n\n{markdown(rows)}", context.output, "filter")


def markdown(rows: Sequence[Row]) -> str:
    """A figure a line, a column with the filter and one without."""
    figures = (*QUALITY, *COPIES, KEPT)
    lines = [[key, *(_cell(row.cells.get(key)) for row in rows)] for key in figures]
    return markdown_table(("figure", *(row.system for row in rows)), lines) + "\n"


def _cell(value: object) -> str:
    return "" if value is None else cell_text(jsonable(value))
