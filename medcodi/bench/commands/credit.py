"""Which part of a pipeline does the work: its networks, its cross-modal attention, or the mean of
partners?

    medcodi bench credit [--config RECIPE] [--num-studies 96] [--pipeline DIR] [--routes T>F,FL>T]
    [--settings unconditional,T>FL] [key=value ...]

Every route and joint setting of the phantom, with the same seeds: *networks zeroed* (each denoiser
replaced by zero), *attention off* (the cross-modal attention of stage 3 adds nothing), *partner
mean off* (what partners add to the prompt mean is nothing), *own codes* (each output attends to its
own environment code, as CoDi's published code does, and partners add nothing to the mean), *as
trained*; and outputs made in calls of their own. Intervals are 95 %, by patient. Writes credit.json
and credit.md to results/NAME. Last line of stdout: one JSON document.
"""

from collections.abc import Sequence

from medcodi.bench.command import add_evaluation, bench_parser, listed, read_context, show
from medcodi.evaluation.credit import credit_rows, markdown
from medcodi.evaluation.follow import ROUTES, SETTINGS


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("credit", __doc__)
    add_evaluation(parser)
    parser.add_argument("--routes", type=listed(), default=list(ROUTES))
    parser.add_argument("--settings", type=listed(), default=list(SETTINGS))
    arguments = parser.parse_intermixed_args(arguments)
    context = read_context(arguments)
    rows = credit_rows(context, arguments.routes, arguments.settings)
    told = {
        "recipe": context.recipe.name,
        "model_hash": context.generations.model_hash,
        "seed": context.seed,
        "num_inference_steps": context.settings.num_inference_steps,
        "rows": rows,
    }
    show(told, markdown(rows), context.output, "credit")
