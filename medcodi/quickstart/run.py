"""`medcodi quickstart`: phantom, all stages, pipeline, measured generation, one page."""

import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from medcodi.config import Recipe
from medcodi.config_io import load_recipe
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.suite import run_suite
from medcodi.export import assemble
from medcodi.pipeline import MedCoDiPipeline
from medcodi.quickstart.page import build_page
from medcodi.quickstart.samples import all_sheets
from medcodi.sources.phantom import prepare_phantom
from medcodi.training.run import Run
from medcodi.training.side_by_side import GIB_PER_KIB, fill_caches, train_side_by_side
from medcodi.training.tasks import train_stage

TIMING = "timing.json"


class Stopwatch:
    """Seconds of each part, announced as it runs."""

    def __init__(self, console: Console) -> None:
        self.console, self.seconds = console, {}

    def run(self, label: str, function: Callable[[], Any]) -> Any:
        self.console.rule(label)
        start = time.perf_counter()
        result = function()
        self.seconds[label] = time.perf_counter() - start
        return result


def joint_sampling_seconds(
    pipe: MedCoDiPipeline, num_samples: int = 8, num_inference_steps: int = 25
) -> float:
    """Seconds for one batch of unconditional joint samples of every modality, decoding included."""
    start = time.perf_counter()
    pipe(
        num_images_per_prompt=num_samples,
        num_inference_steps=num_inference_steps,
        seeds=range(num_samples),
    )
    return time.perf_counter() - start


def prepare(recipe: Recipe) -> None:
    """The recipe's phantom, unless it is there already."""
    folder = Path(recipe.data.prepared)
    if recipe.data.phantom is None:
        raise ValueError(
            f"the quickstart renders phantoms, but recipe {recipe.name!r} has no data.phantom, "
            "such as {num_studies: 4000, size: 64, seed: 0}"
        )
    if not folder.exists():
        prepare_phantom(folder, **recipe.data.phantom)


def run_quickstart(
    config: Path, overrides: Sequence[str], num_evaluated: int, console: Console
) -> Path:
    """Run everything (finished parts are skipped) and return the page."""
    if not config.is_file():
        raise FileNotFoundError(
            f"recipe {config} not found: run from the repository root or pass --config"
        )
    recipe = load_recipe(config, overrides)
    recipe.evaluation.num_studies = num_evaluated
    watch = Stopwatch(console)
    watch.run("phantom", lambda: prepare(recipe))
    run = Run(recipe)
    first = watch.run(
        "autoencoders and stage 1", lambda: train_side_by_side(recipe, ("stage1", "autoencoder"))
    )
    watch.run("caches", lambda: fill_caches(run))
    second = watch.run("stage 2", lambda: train_side_by_side(recipe, ("stage2",)))
    watch.run("stage 3", lambda: train_stage(recipe, "stage3"))
    folder = watch.run("pipeline", lambda: assemble(recipe))
    pipe = MedCoDiPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    context = EvaluationContext(recipe, recipe.run_dir / "evaluation", folder)
    document = watch.run("evaluation", lambda: run_suite(context, ("follow", "joint")))
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * GIB_PER_KIB
    peak = own + max(first, second)  # an upper bound: the peaks need not fall together
    timing = {
        "seconds": watch.seconds,
        "total": sum(watch.seconds.values()),
        "peak_memory_gib": peak,
        "joint_batch_of_8_seconds": joint_sampling_seconds(pipe),
    }
    (recipe.run_dir / TIMING).write_text(json.dumps(timing, indent=1))
    page = build_page(recipe.run_dir, document, all_sheets(context), timing)
    console.print(f"{timing['total']:.0f} s, peak memory {peak:.2f} GiB. Open {page}")
    return page
