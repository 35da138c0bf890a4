"""The evaluation suite: every table of the papers for one recipe, beside floors.

    python eval/run.py --config configs/phantom_tiny.yaml [--tables T2 T3] [--num-studies N]
    [--pipeline DIR] [key=value ...]

Writes report.html, report.md and report.json to results/NAME, one JSON a table below tables/. A
rerun does what is not done.
Last line of stdout: one JSON document.
"""

import argparse
import json
import logging
from pathlib import Path

from medcodi.config import load_recipe
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.suite import run_suite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/phantom_tiny.yaml")
    parser.add_argument("--tables", nargs="*", default=None, metavar="ID", help="default: all")
    parser.add_argument("--num-studies", type=int, default=None, help="held-out studies a route")
    parser.add_argument("--pipeline", type=Path, default=None, help="default: the run's own")
    parser.add_argument("--output", type=Path, default=None, help="default: results/NAME")
    parser.add_argument("--again", action="store_true", help="measure also what is done")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")

    overrides = [item for item in (arguments.tables or []) if "=" in item] + arguments.overrides
    tables = [item for item in arguments.tables or [] if "=" not in item]
    recipe = load_recipe(arguments.config, overrides)
    if arguments.num_studies is not None:
        recipe.evaluation.num_studies = arguments.num_studies
    output = arguments.output or Path("results") / recipe.name
    document = run_suite(
        EvaluationContext(recipe, output, arguments.pipeline), tables, arguments.again
    )
    tables = {
        key: {"status": table["status"], "seconds": table["seconds"]}
        | (
            {"n": table["result"]["n"], "figures": table["result"]["figures"]}
            if table["status"] == "done"
            else {"message": table["message"]}
        )
        for key, table in document["tables"].items()
    }
    about = {key: document[key] for key in ("name", "model_hash", "seconds")}
    print(json.dumps({**about, "output": str(output), "tables": tables}))


if __name__ == "__main__":
    main()
