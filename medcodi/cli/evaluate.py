"""`medcodi evaluate` and `medcodi bench`."""

import importlib
import json
from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import names
from medcodi.cli.train import Config, Overrides, chosen

BENCHES = {
    "speed": "training, decoding, sampling and loading beside plain loops",
    "memory": "GiB of training and sampling, without a GPU",
    "sampling": "solvers of a trained pipeline: time and quality",
    "credit": "every route with networks zeroed, attention off, as trained",
    "keep": "whether generated parts follow what is kept",
    "metrics": "the metrics beside other packages",
    "multiprompt": "multi-prompt against single-prompt training",
    "prepare_speed": "reading DICOM beside torchxrayvision",
    "prepare_memory": "memory of reading many DICOM files",
}


def evaluate(
    overrides: Overrides = None,
    config: Config = None,
    tables: Annotated[str, typer.Option(help="comma-separated ids; default: all")] = "",
    num_studies: Annotated[int | None, typer.Option(help="held-out studies a route")] = None,
    pipeline: Annotated[Path | None, typer.Option(help="default: the run's own")] = None,
    output: Annotated[Path | None, typer.Option(help="default: results/NAME")] = None,
    again: Annotated[bool, typer.Option("--again", help="measure also what is done")] = False,
    card: Annotated[bool, typer.Option("--card", help="figures into the model card")] = False,
) -> None:
    """The evaluation suite: every table of the papers for one recipe, beside floors.

    Writes report.html, report.md and report.json to results/NAME, one JSON a table below tables/.
    The same command again does what is not done. Last line of stdout: one JSON document. Exits with
    1 when a table failed.
    """
    from medcodi.config_io import load_recipe
    from medcodi.evaluation import EvaluationContext
    from medcodi.evaluation.suite import FAILED, run_suite

    recipe = load_recipe(chosen(config), overrides or [])
    if num_studies is not None:
        recipe.evaluation.num_studies = num_studies
    output = output or Path("results") / recipe.name
    context = EvaluationContext(recipe, output, pipeline)
    document = run_suite(context, names(tables), again)
    if card:
        from medcodi.evaluation.card import write_figures

        write_figures(context.pipeline_dir, document)
    told = {
        key: {"status": table["status"], "seconds": table["seconds"]}
        | (
            {"n": table["result"]["n"], "figures": table["result"]["figures"]}
            if table["status"] == "done"
            else {"message": table["message"]}
        )
        for key, table in document["tables"].items()
    }
    about = {key: document[key] for key in ("name", "model_hash", "seconds")}
    typer.echo(json.dumps({**about, "output": str(output), "tables": told}))
    failed = [key for key, table in told.items() if table["status"] == FAILED]
    if failed:
        raise RuntimeError(f"{', '.join(failed)} could not be measured: see {output}/report.html")


def bench(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help=", ".join(BENCHES))],
) -> None:
    """Measure speed or memory; the options are those of `medcodi bench WHAT --help`."""
    from medcodi.config_io import unknown_key

    if what not in BENCHES:
        raise unknown_key(what, BENCHES, "the benchmarks")
    importlib.import_module(f"medcodi.bench.commands.{what}").main(context.args)
