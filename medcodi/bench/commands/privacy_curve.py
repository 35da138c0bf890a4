"""What does differential privacy cost: fidelity, utility and membership over epsilon?

    medcodi bench privacy_curve --config RECIPE --public PIPELINE --public-data PREPARED
    [--modality tabular] [--epsilons 1,3,8,10,inf] [--delta 1e-3] [--unit patient]
    [--count 400] [key=value ...]

The recipe's data are the private ones, PIPELINE saw others. Stage 2 of the modality is trained once
an epsilon from the public weights; `inf` is training without DP, epsilon 0 the public pipeline
itself. Membership is the white-box attack by the denoiser's loss, .5 is chance. Writes
privacy_curve.json and privacy_curve.md to results/NAME.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medcodi.bench.command import add_recipe, bench_parser, listed, read_recipe, show
from medcodi.bench.privacy_curve import COLUMNS, privacy_curve
from medcodi.metrics.statistics import Estimate
from medcodi.report.markdown import markdown_table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("privacy_curve", __doc__)
    add_recipe(parser)
    parser.add_argument("--public", type=Path, required=True, help="folder of a pipeline")
    parser.add_argument("--public-data", type=Path, required=True, help="its prepared folder")
    parser.add_argument("--modality", default="tabular")
    parser.add_argument("--epsilons", type=listed(float), default=[1, 3, 8, 10, float("inf")])
    parser.add_argument("--delta", type=float, default=1e-3)
    parser.add_argument("--unit", default="patient", help="patient or sample")
    parser.add_argument("--count", type=int, default=400, help="studies of each side")
    arguments = parser.parse_intermixed_args(arguments)
    recipe = read_recipe(arguments)
    rows = privacy_curve(
        recipe,
        arguments.public,
        arguments.public_data,
        arguments.modality,
        arguments.epsilons,
        arguments.delta,
        arguments.count,
        arguments.unit,
    )
    told = {"recipe": recipe.name, "delta": arguments.delta, "unit": arguments.unit, "rows": rows}
    show(told, markdown(rows), arguments.output, "privacy_curve")


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table with a row an epsilon."""
    cells = [[_cell(row.get(key)) for key in COLUMNS] for row in rows]
    return markdown_table(COLUMNS, cells) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, Estimate):
        return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
    return "-" if value is None else f"{value:.3g}"
