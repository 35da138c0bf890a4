"""How many sampling steps does each route need?

    medcodi bench steps [--config RECIPE] [--num-studies 96] [--pipeline DIR] [--routes T>F,FL>T]
    [--steps 5,8,10,15,25] [--reference 50] [--solver unipc] [key=value ...]

Routes of the phantom with the guidance of the recipe and the same seeds. Each figure stands beside
its difference to the reference number of steps, paired by study, with an interval of 95 % by
patient. Writes steps.json and steps.md to results/NAME (steps_SOLVER with a solver). Last line of
stdout: one JSON document.
"""

from collections.abc import Sequence

from medcodi.bench.command import add_evaluation, bench_parser, listed, read_context, show
from medcodi.evaluation.steps import REFERENCE, ROUTES, STEPS, losses, markdown, step_rows
from medcodi.pipeline.solvers import SOLVERS


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("steps", __doc__)
    add_evaluation(parser)
    parser.add_argument("--routes", type=listed(), default=list(ROUTES))
    parser.add_argument("--steps", type=listed(int), default=list(STEPS))
    parser.add_argument("--reference", type=int, default=REFERENCE, help="default: %(default)s")
    parser.add_argument("--solver", choices=list(SOLVERS), help="default: the pipeline's own")
    arguments = parser.parse_intermixed_args(arguments)
    context = read_context(arguments)
    rows = step_rows(
        context, arguments.routes, arguments.steps, arguments.reference, arguments.solver
    )
    told = {
        "recipe": context.recipe.name,
        "model_hash": context.generations.model_hash,
        "seed": context.seed,
        "solver": arguments.solver,
        "reference": arguments.reference,
        "worse": losses(rows),
        "rows": rows,
    }
    name = f"steps_{arguments.solver}" if arguments.solver else "steps"
    show(told, markdown(rows), context.output, name)


if __name__ == "__main__":
    main()
