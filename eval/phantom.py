"""Does generation follow its prompt, and are joint outputs coherent? Measured with the phantom's
truth, beside floors.

    python eval/phantom.py --config configs/phantom_tiny.yaml [--num-studies 96] [key=value ...]

Writes phantom.json and phantom.md to results/NAME. Last line of stdout: one JSON document.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from medcodi.config import load_recipe
from medcodi.pipeline import MedCoDiPipeline
from medcodi.quickstart.evaluate import evaluate_phantom


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def interval(bounds: list[float | None]) -> str:
    return f"[{number(bounds[0])}, {number(bounds[1])}]"


def markdown(figures: dict[str, Any]) -> str:
    """Tables of the figures with intervals, floors and ceilings."""
    settings = figures["settings"]
    lines = [
        f"Phantom: a test body, not clinical data. {settings['num_studies']} held-out studies, "
        f"seed {settings['seed']}, "
        f"{settings['num_inference_steps']} steps, 95 % bootstrap intervals by patient. The "
        "ceiling is the same reading of "
        "the real values; nearest neighbour retrieves a real training study by the prompt.",
        "",
        "| route | figure | n | generated | shuffled | constant | nearest neighbour | ceiling |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in figures["follow"]:
        floors = [
            number(row["floors"].get(name))
            for name in ("shuffled", "constant", "nearest_neighbour")
        ]
        cells = [
            row["route"],
            row["metric"],
            str(row["n"]),
            f"{number(row['value'])} {interval(row['interval'])}",
        ]
        lines.append("| " + " | ".join([*cells, *floors, number(row["ceiling"])]) + " |")
    lines += [
        "",
        "| generated from | pair | figure | n | joint | independent | joint - independent | "
        "shuffled | ceiling |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in figures["coherence"]:
        estimates = [
            f"{number(row[k]['value'])} {interval(row[k]['interval'])}"
            for k in ("joint", "independent", "difference")
        ]
        cells = [row["setting"], row["pair"], row["metric"], str(row["n"]), *estimates]
        lines.append(
            "| "
            + " | ".join([*cells, number(row["floors"]["shuffled"]), number(row["ceiling"])])
            + " |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/phantom_tiny.yaml")
    parser.add_argument("--num-studies", type=int, default=96)
    parser.add_argument("--num-inference-steps", type=int, default=25)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")

    recipe = load_recipe(arguments.config, arguments.overrides)
    pipe = MedCoDiPipeline.from_pretrained(recipe.run_dir / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    figures = evaluate_phantom(
        pipe,
        recipe.data.prepared,
        arguments.num_studies,
        recipe.seed,
        arguments.num_inference_steps,
    )
    figures.pop("samples")
    folder = arguments.output or Path("results") / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "phantom.json").write_text(json.dumps(figures, indent=1))
    (folder / "phantom.md").write_text(markdown(figures))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
