"""Report labeler against the Open-i gold: per class, with intervals and floors, and reports per
second.

    python eval/labeler.py [--gold ../shared/data/openi_gold/labels.csv] [--output results/labeler]

Writes labeler.json and labeler.md. Last line of stdout: one JSON document. The parts: `dev`, whose
errors were read while phrases were written, `test` (a third by hash of id), whose were not, and
`all`.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.labeler import Labeler
from medcodi.labeler.gold import is_test, openi_archive, read_gold, score
from medcodi.report.markdown import markdown_table

GOLD = Path(__file__).resolve().parents[2] / "shared" / "data" / "openi_gold" / "labels.csv"
TARGETS = {
    "micro_f1": 0.90,
    "class_f1_from_30_positives": 0.80,
    "negation_f1": 0.95,
    "reports_per_second": 2000,
}
OVERALL = ("micro_f1", "micro_f1_seen", "negation_f1", "negation_f1_with_uncertain")


def speed(texts: list[str]) -> dict[str, float]:
    """Reports per second on one core, nothing remembered before the first pass; by the clock and by
    CPU time."""
    labeler = Labeler.from_vocabulary("chestxray14")
    figures = {}
    for name in ("first_pass", "remembered"):
        wall, cpu = time.perf_counter(), time.process_time()
        labeler.label(texts)
        figures[name] = len(texts) / (time.perf_counter() - wall)
        figures[f"{name}_cpu"] = len(texts) / (time.process_time() - cpu)
    return figures


def without_nan(value: Any) -> Any:
    """A figure that cannot be computed is null in JSON."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def row(name: str, figure: dict[str, Any]) -> list[str]:
    floors = figure["floors"]
    return [
        name,
        str(figure.get("positives", "")),
        f"{cell(figure['value'])} [{cell(figure['low'])}, {cell(figure['high'])}]",
        cell(floors["constant"]),
        cell(floors.get("mention")),
        *(
            str(figure.get(key, ""))
            for key in ("false_positive", "missed_unmentioned", "missed_denied", "missed_hedged")
        ),
    ]


def markdown(figures: dict[str, Any]) -> str:
    head = ["class", "positives", "F1 [95 %]", "constant", "any mention", "invented"]
    head += ["missed: unmentioned", "denied", "hedged"]
    lines = [
        f"Report labeler, vocabulary chestxray14, Open-i gold, seed {figures['seed']}. Not for "
        "clinical use.",
        "",
    ]
    for part, scores in figures["parts"].items():
        rows = [row(name, scores[name]) for name in OVERALL] + [
            row(*item) for item in scores["classes"].items()
        ]
        lines += [f"**{part}**, {scores['reports']} reports", "", markdown_table(head, rows), ""]
    rate = figures["reports_per_second"]
    lines.append(
        f"Reports per second on one core: {rate['first_pass']:.0f} by the clock, "
        f"{rate['first_pass_cpu']:.0f} by CPU time, "
        f"{rate['first_pass_cpu'] / TARGETS['reports_per_second']:.1f} times the target of "
        f"{TARGETS['reports_per_second']}."
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gold", type=Path, default=GOLD)
    parser.add_argument("--output", type=Path, default=Path("results/labeler"))
    parser.add_argument("--num-resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    archive = openi_archive()
    if archive is None:
        sys.exit("the Open-i texts come with torchxrayvision: pip install 'medcodi[eval]'")
    if not arguments.gold.is_file():
        sys.exit(f"gold labels {arguments.gold} do not exist; name them with --gold")
    texts, gold = read_gold(arguments.gold, archive)
    labels = Labeler.from_vocabulary("chestxray14").label(texts).set_index(gold.index)
    test = is_test(gold.index)
    parts = {"dev": ~test, "test": test, "all": np.ones(len(test), bool)}
    drawn = (arguments.num_resamples, arguments.seed)
    scores = {name: score(labels[rows], gold[rows], *drawn) for name, rows in parts.items()}
    figures = {
        "seed": arguments.seed,
        "targets": TARGETS,
        "reports_per_second": speed(texts),
        "parts": scores,
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    figures = without_nan(figures)
    (arguments.output / "labeler.json").write_text(json.dumps(figures, indent=1, allow_nan=False))
    (arguments.output / "labeler.md").write_text(markdown(figures))
    print(markdown(figures))
    print(json.dumps(figures, allow_nan=False))


if __name__ == "__main__":
    main()
