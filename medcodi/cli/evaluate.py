"""`medcodi evaluate`, `medcodi evaluate compare` and `medcodi bench`."""

import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from medcodi.cli.console import console, names, show_table
from medcodi.cli.options import file_to_write, folder_to_write
from medcodi.cli.train import Config, Overrides, chosen

BENCHES = {
    "speed": "training, decoding, sampling and loading beside plain loops",
    "memory": "GiB of training and sampling, without a GPU",
    "sampling": "solvers of a trained pipeline: time and quality",
    "baselines": "image systems of the papers on the same data",
    "filter": "what the privacy filter finds, and what it costs",
    "hybrid": "the hybrid study: image and row together, by the study's method and by medcodi",
    "memorisation": "copies and membership by the size of the data and by duplicates",
    "privacy_curve": "fidelity, utility and membership over epsilon",
    "credit": "every route with networks zeroed, attention off, partner mean off, as trained",
    "steps": "how many sampling steps each route needs",
    "adapters": "adapters on few studies of another site: gain and forgetting",
    "keep": "whether generated parts follow what is kept",
    "metrics": "the metrics beside other packages",
    "multiprompt": "multi-prompt against single-prompt training",
    "prepare_speed": "reading DICOM beside torchxrayvision",
    "prepare_memory": "memory of reading many DICOM files",
}


class WithDefault(TyperGroup):
    """A group whose own name runs the command `default`: `medcodi evaluate --config X`."""

    default = "run"

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        if not arguments or arguments[0] not in self.commands:
            arguments = [self.default, *arguments]
        return super().parse_args(context, arguments)


evaluate_app = typer.Typer(
    cls=WithDefault, help="Measure a recipe (the default: see `medcodi evaluate run --help`)."
)


@evaluate_app.command("run")
def evaluate(
    overrides: Overrides = None,
    config: Config = None,
    tables: Annotated[str, typer.Option(help="comma-separated ids; default: all")] = "",
    num_studies: Annotated[int | None, typer.Option(help="held-out studies a route")] = None,
    pipeline: Annotated[Path | None, typer.Option(help="default: the run's own")] = None,
    output: Annotated[Path | None, folder_to_write("default: results/NAME")] = None,
    again: Annotated[bool, typer.Option("--again", help="measure also what is done")] = False,
    card: Annotated[bool, typer.Option("--card", help="figures into the model card")] = False,
) -> None:
    """The evaluation suite: every table of the papers for one recipe, beside floors.

    Writes report.html, report.md and report.json to results/NAME, one JSON a table below tables/.
    Values by study go to samples/, real beside generated reports to reports/. The same command
    again does what is not done. Last line of stdout: one JSON document. Exits with 1 when a table
    failed.
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


@evaluate_app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A: results folder of `medcodi evaluate`")],
    second: Annotated[Path, typer.Argument(help="B: another one, on the same studies")],
    tables: Annotated[str, typer.Option(help="comma-separated ids; default: all")] = "",
    output: Annotated[Path | None, file_to_write("JSON file to write")] = None,
    num_randomisations: Annotated[int, typer.Option(min=1)] = 10_000,
) -> None:
    """Compare two evaluations study by study: approximate randomisation by patient, Holm."""
    from medcodi.evaluation.compare import HEAD, NOTE, cells
    from medcodi.evaluation.compare import compare as compared
    from medcodi.files import jsonable, written

    rows = compared(first, second, names(tables), num_randomisations)
    show_table(f"A: {first}   B: {second}", HEAD, [cells(row) for row in rows])
    console.print(NOTE)
    if output:
        with written(output) as temporary:
            temporary.write_text(json.dumps(jsonable(rows), indent=1))


def bench(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help=", ".join(BENCHES))],
) -> None:
    """Measure speed or memory; the options are those of `medcodi bench WHAT --help`."""
    from medcodi.config_io import unknown_key

    if what not in BENCHES:
        raise unknown_key(what, BENCHES, "the benchmarks")
    importlib.import_module(f"medcodi.bench.commands.{what}").main(context.args)
