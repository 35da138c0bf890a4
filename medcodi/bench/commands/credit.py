"""Which part of a pipeline does the work: its networks, its cross-modal attention, or its closed
forms?

    medcodi bench credit [--config phantom_tiny] [--num-studies 96] [--pipeline DIR] [--routes T>F
    FL>T ...] [--settings unconditional T>FL ...] [key=value ...]

Every route and joint setting of the phantom in three rows, with the same seeds: *networks zeroed*
(each denoiser replaced by zero), *attention off* (the cross-modal attention of stage 3 adds
nothing), *as trained*. Intervals are 95 %, by patient. Writes credit.json and credit.md to
results/NAME. Last line of stdout: one JSON document.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from medcodi.config_io import load_recipe
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.credit import credit_rows, markdown
from medcodi.evaluation.follow import ROUTES, SETTINGS
from medcodi.files import jsonable
from medcodi.recipes import find_recipe


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="medcodi bench credit", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--config", default="phantom_tiny")
    parser.add_argument("--num-studies", type=int, default=None)
    parser.add_argument("--pipeline", type=Path, default=None, help="default: the run's own")
    parser.add_argument("--output", type=Path, default=None, help="default: results/NAME")
    parser.add_argument("--routes", nargs="*", default=list(ROUTES), metavar="ROUTE")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    recipe = load_recipe(find_recipe(arguments.config), arguments.overrides)
    if arguments.num_studies is not None:
        recipe.evaluation.num_studies = arguments.num_studies
    output = arguments.output or Path("results") / recipe.name
    context = EvaluationContext(recipe, output, arguments.pipeline)
    rows = credit_rows(context, arguments.routes, arguments.settings)
    told = jsonable(
        {
            "recipe": recipe.name,
            "model_hash": context.model_hash,
            "seed": context.seed,
            "num_inference_steps": context.settings.num_inference_steps,
            "rows": rows,
        }
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "credit.json").write_text(json.dumps(told, indent=1))
    (output / "credit.md").write_text(markdown(rows))
    print(markdown(rows))
    print(json.dumps(told))
