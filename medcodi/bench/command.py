"""What the commands of `medcodi bench` share: their options, and how results are shown."""

import argparse
import json
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch

from medcodi.config import Recipe
from medcodi.config_io import load_recipe, unknown_key
from medcodi.evaluation import EvaluationContext
from medcodi.files import check_folder, jsonable, written
from medcodi.recipes import DEFAULT, find_recipe


class BenchParser(argparse.ArgumentParser):
    """Looks at the folder of the results before anything is measured."""

    def parse_known_args(self, *given: Any, **named: Any) -> Any:
        """Raises ValueError for an --output that is no folder or cannot be written to."""
        arguments, rest = super().parse_known_args(*given, **named)
        if getattr(arguments, "output", None) is not None:
            check_folder(arguments.output)
        return arguments, rest


def bench_parser(name: str, doc: str | None) -> BenchParser:
    """The parser of `medcodi bench NAME`; the first paragraph of `doc` describes it."""
    about = (doc or "").partition("\n\n")[0]
    return BenchParser(prog=f"medcodi bench {name}", description=about)


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """--config RECIPE, --output DIR [key=value ...]"""
    parser.add_argument("--config", default=DEFAULT, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="folder; default: results/NAME")
    parser.add_argument("overrides", nargs="*")


def add_evaluation(parser: argparse.ArgumentParser) -> None:
    """The options of a recipe, and --num-studies N --pipeline DIR."""
    add_recipe(parser)
    parser.add_argument("--num-studies", type=int, help="held-out studies a route")
    parser.add_argument("--pipeline", type=Path, help="default: the run's own")


def listed(
    kind: Callable[[str], Any] = str, choices: Collection[str] = ()
) -> Callable[[str], list[Any]]:
    """`type` of an option that takes several values, divided by commas, as `--steps 5,10`. An
    option that took words instead would swallow the overrides behind it."""

    def read(text: str) -> list[Any]:
        values = []
        for word in filter(None, text.split(",")):
            if choices and word not in choices:
                raise argparse.ArgumentTypeError(str(unknown_key(word, choices, "the values")))
            try:
                values.append(kind(word))
            except ValueError:
                told = f"expected {kind.__name__} values divided by commas, got {word!r}"
                raise argparse.ArgumentTypeError(told) from None
        return values

    return read


def read_recipe(arguments: argparse.Namespace) -> Recipe:
    """Of `add_recipe`; log lines have the time from here on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    recipe = load_recipe(find_recipe(arguments.config), arguments.overrides)
    if arguments.output is None:
        arguments.output = Path("results") / recipe.name
        check_folder(arguments.output)
    return recipe


def read_context(arguments: argparse.Namespace) -> EvaluationContext:
    """Of `add_evaluation`."""
    recipe = read_recipe(arguments)
    if arguments.num_studies is not None:
        recipe.evaluation.num_studies = arguments.num_studies
    return EvaluationContext(recipe, arguments.output, arguments.pipeline)


def device_name(device: torch.device | str | None = None) -> str:
    """The GPU, or the CPU with the number of threads; default: the device that is there."""
    on_gpu = torch.cuda.is_available() if device is None else torch.device(device).type == "cuda"
    return torch.cuda.get_device_name() if on_gpu else f"CPU ({torch.get_num_threads()} threads)"


def show(told: Any, text: str = "", folder: Path | None = None, name: str = "") -> None:
    """Print `text`, then `told` as one line of JSON; with a folder, also write them to NAME.md and
    NAME.json there."""
    told = jsonable(told)
    if folder is not None:
        with written(folder / f"{name}.json") as path:
            path.write_text(json.dumps(told, indent=1), encoding="utf-8")
        if text:
            with written(folder / f"{name}.md") as path:
                path.write_text(text, encoding="utf-8")
    print(text, end="\n" if text else "")
    print(json.dumps(told))
