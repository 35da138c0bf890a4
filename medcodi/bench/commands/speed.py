"""How fast are preparation, cache, training, sampling and report decoding, and what does each
optimisation bring?

    medcodi bench speed [--config RECIPE] [--device cpu] [--repeats 5]
    [--compile] [key=value ...]

The networks have the recipe's sizes and random weights, the data are chest phantoms: speed needs
neither training nor patients. The rows of a table are measured in turns, several rounds, each by
its fastest round, so that a busy machine slows all of them alike. `reference` is a plain float32
loop of the same networks as the published code has it: no cache (every prompt and latent is encoded
in every step), no fused kernels, 50 steps, one report at a time without a KV cache. Whether fewer
steps keep the quality is measured by `medcodi bench sampling`, not here. Writes speed.json and
speed.md to results/NAME. Last line of stdout: one JSON document.
"""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import medcodi.modalities  # noqa: F401  registers the kinds
from medcodi.bench.command import add_recipe, bench_parser, device_name, read_recipe, show
from medcodi.bench.loading import loading
from medcodi.bench.speed_generation import measure_reports, measure_sampling
from medcodi.bench.speed_training import Table, measure_training, training_options
from medcodi.config import Recipe
from medcodi.config_io import load_recipe
from medcodi.data.storage import Storage
from medcodi.modalities.family import seeded
from medcodi.nn.weights import save_module
from medcodi.recipes import find_recipe
from medcodi.report.markdown import markdown_table
from medcodi.sources.phantom import prepare_phantom
from medcodi.training.cached import open_cache
from medcodi.training.run import Run

logger = logging.getLogger("speed")
# first word of a title -> row `medcodi` over `reference`
TARGETS = {"training": 5.0, "report": 10.0, "sampling": 4.0}
# of the larger recipe's training: a step takes seconds on a CPU
LARGE_ROWS, LARGE_STUDIES, LARGE_REPEATS = 2, 12, 2


def untrained_run(recipe: Recipe) -> Run:
    """A run folder whose encoders and autoencoders have random weights, as if they had been
    trained."""
    run = Run(recipe)
    with seeded(0):
        for group in run.family.groups:
            modality = run.family.representative(group)
            figures = {"reconstruction": {modality.figure: modality.args.gate}}
            save_module(
                run.family.build_autoencoder(group),
                run.folder / "autoencoder" / group / "export",
                figures,
            )
        save_module(run.family.build_shared_space(), run.folder / "stage1" / "export", {})
    return run


def measure_data(recipe: Recipe, num_studies: int, size: int) -> tuple[Run, Table]:
    """Preparation and cache, rows a second; leaves the run that the other tables use."""
    start = time.perf_counter()
    prepare_phantom(recipe.data.prepared, num_studies, size, seed=0, num_processes=1)
    seconds = {"prepare phantoms": time.perf_counter() - start}
    run = untrained_run(recipe)
    for name in run.family.names:
        start = time.perf_counter()
        open_cache(run, "train", name)
        seconds[f"cache {name}"] = time.perf_counter() - start
    counts = {
        key: num_studies if key.startswith("prepare") else len(run.data("train", []))
        for key in seconds
    }
    return run, [{"row": k, "ms": 1e3 * s, "per_second": counts[k] / s} for k, s in seconds.items()]


def examples(run: Run) -> tuple[str, str]:
    """The modalities that are measured: the first with pictures and the first with texts."""
    by_storage = {run.family.modality(name).storage: name for name in reversed(run.family.names)}
    return by_storage[Storage.IMAGE], by_storage[Storage.TEXT]


def largest_side(recipe: Recipe) -> int:
    return max(args["size"] for args in recipe.modalities.values() if "size" in args)


def training_at(large: Recipe, folder: Path, device: torch.device) -> dict[str, Table]:
    """A training step of the networks of another recipe: `LARGE_ROWS` rows, the plain loop and
    ours."""
    recipe = replace(
        large,
        output_dir=str(folder),
        data=replace(large.data, prepared=str(folder / "prepared"), num_workers=0),
        stage2=replace(large.stage2, batch_size=LARGE_ROWS, per_modality={}),
    )
    run, _ = measure_data(recipe, LARGE_STUDIES, largest_side(large))
    few = {key: training_options(False, device)[key] for key in ("reference", "medcodi")}
    where = f"{large.name}, {LARGE_ROWS} rows"
    return {
        f"training, stage 2, {name}, {where}": measure_training(
            run, name, few, LARGE_REPEATS, device
        )
        for name in examples(run)
    }


COLUMNS = {
    "ms": "ms",
    "per_second": "rows/s",
    "ratio": "ratio",
    "flops": "GFLOP",
    "mfu": "MFU",
    "mib": "MiB",
    "activations_mib": "activations MiB",
    "state_mib": "state MiB",
    "peak_mib": "peak MiB",
    "equal_tokens": "equal tokens",
}


def markdown(told: dict[str, Any]) -> str:
    lines = [f"# Speed of {told['recipe']} on {told['device']}", "", told["note"], ""]
    for title, table in told["tables"].items():
        shown = [key for key in COLUMNS if any(key in row for row in table)]
        rows = [
            [row["row"]]
            + [
                number(row[key] / 1e9 if key == "flops" else row[key]) if key in row else "-"
                for key in shown
            ]
            for row in table
        ]
        head = ["row", *(COLUMNS[key] for key in shown)]
        lines += [f"## {title}", "", markdown_table(head, rows), ""]
    ratios = [
        (key, number(one["ratio"]), f"{one['target']:g}") for key, one in told["ratios"].items()
    ]
    table = markdown_table(["what", "ratio", "target"], ratios)
    return "\n".join([*lines, "## Ratios to the reference", "", table]) + "\n"


def number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def measure(
    recipe: Recipe,
    device: torch.device,
    repeats: int,
    num_studies: int,
    compiled: bool,
    large: Recipe | None = None,
) -> dict[str, Any]:
    """Every table. The recipe's `data.prepared` and `output_dir` are written to."""
    run, table = measure_data(recipe, num_studies, largest_side(recipe))
    picture, text = examples(run)
    pictures = [
        name for name in run.family.names if run.family.modality(name).storage == Storage.IMAGE
    ]
    options = training_options(compiled, device)
    few = {key: options[key] for key in ("reference", "medcodi")}
    jobs = {
        "loading": lambda: loading(run, device, large),
        f"training, stage 2, {picture}": lambda: measure_training(
            run, picture, options, repeats, device
        ),
        f"training, stage 2, {text}": lambda: measure_training(run, text, few, repeats, device),
        "report decoding": lambda: measure_reports(
            run, run.family.modality(text).group, repeats, device
        ),
        f"sampling, {text} to {' and '.join(pictures)}": lambda: measure_sampling(
            run, text, pictures, min(repeats, 2), device, compiled
        ),
    }
    tables = {"preparation and cache": table}
    for title, job in jobs.items():
        start = time.perf_counter()
        tables[title] = job()
        logger.info("%s: %.0f s", title, time.perf_counter() - start)
    if large:
        tables |= training_at(large, run.folder / "larger", device)
    ratios = {}
    for title, table in tables.items():
        target = TARGETS.get(title.split()[0].strip(","))
        if target:
            ratios[title] = {
                "ratio": next(r["ratio"] for r in table if r["row"].startswith("medcodi")),
                "target": target,
            }
    return {"recipe": recipe.name, "tables": tables, "ratios": ratios}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = bench_parser("speed", __doc__)
    add_recipe(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--num-studies", type=int, default=192)
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile (the default on a GPU; minutes on a CPU)",
    )
    parser.add_argument(
        "--large",
        type=Path,
        help="also load and train this recipe's networks (mimic_cxr.yaml: 20 GiB)",
    )
    arguments = parser.parse_intermixed_args(arguments)
    recipe, device = read_recipe(arguments), torch.device(arguments.device)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        local = replace(
            recipe, output_dir=folder, data=replace(recipe.data, prepared=f"{folder}/prepared")
        )
        compiled = arguments.compile or device.type == "cuda"
        large = load_recipe(find_recipe(arguments.large)) if arguments.large else None
        told = measure(local, device, arguments.repeats, arguments.num_studies, compiled, large)
    told |= {
        "device": device_name(device),
        "torch": torch.__version__,
        "repeats": arguments.repeats,
        "seconds": time.perf_counter() - start,
        "note": f"Random weights, phantoms; fastest of {arguments.repeats} rounds. MFU: FLOPs of "
        "forward and backward over "
        "what a square matrix product reached in this run. Activations: what backward keeps. "
        + ("" if compiled else "torch.compile was not measured (`--compile`)."),
    }
    show(told, markdown(told), arguments.output, "speed")


if __name__ == "__main__":
    main()
