"""`medcodi quickstart`: a trained pipeline, measured on held-out phantoms, trained on; one page.

`run_quickstart` takes the weights that come with the package and trains on from them for a few
steps a stage. `run_from_scratch` trains everything.
"""

import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from medcodi.config import STAGES, Recipe
from medcodi.config_io import load_recipe
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.suite import run_suite
from medcodi.export import assemble
from medcodi.pipeline import MedCoDiPipeline
from medcodi.pipeline.hub import local_folder
from medcodi.quickstart.page import build_page
from medcodi.quickstart.samples import all_sheets
from medcodi.sources.phantom import render_missing
from medcodi.start import start_from_pipeline
from medcodi.training.run import Run
from medcodi.training.side_by_side import GIB_PER_KIB, fill_caches, train_side_by_side
from medcodi.training.tasks import train_stage

TIMING = "timing.json"
HELD_OUT_SEED = 1  # the shipped pipeline was trained on phantoms of seed 0
NUM_STUDIES = 1050  # a fifth of them is held out
NUM_READER_STUDIES = 800  # of the others, which teach those who read images
MEASURED = [  # fewer steps and settings than docs/results has: the page shall not take long
    "evaluation.num_inference_steps=10",
    "evaluation.tables={joint: {settings: [unconditional, T>FL]}}",
]
# Another machine: darker images, so that every stage has something to learn.
NUM_OTHER, EXPOSURE = 400, 1.4
STEPS = {"autoencoder": 20, "stage1": 10, "stage2": 20, "stage3": 10}
GENTLE = 0.2  # of the recipe's learning rates: the weights are trained already


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


def prepare(recipe: Recipe, **changed: Any) -> None:
    """The recipe's phantom, unless it is there already."""
    if recipe.data.phantom is None:
        raise ValueError(
            f"the quickstart renders phantoms, but recipe {recipe.name!r} has no data.phantom, "
            "such as {num_studies: 4000, size: 64, seed: 0}"
        )
    render_missing(recipe.data, **changed)


def run_quickstart(
    pipeline: str, config: Path, overrides: Sequence[str], num_evaluated: int, console: Console
) -> Path:
    """Measure a trained pipeline of the recipe on phantoms that it has not seen, train on from it,
    and return the page. Finished parts are skipped."""
    recipe = load_recipe(config, ["name=quickstart", *MEASURED, *overrides])
    folder, run_dir = local_folder(pipeline), recipe.run_dir
    recipe.evaluation.num_studies = num_evaluated
    recipe.evaluation.num_training_studies = NUM_READER_STUDIES
    recipe.data.prepared = str(run_dir / "held_out")
    watch = Stopwatch(console)
    held_out = {"num_studies": NUM_STUDIES, "seed": HELD_OUT_SEED}
    watch.run("held-out phantoms", lambda: prepare(recipe, **held_out))
    context = EvaluationContext(recipe, run_dir / "evaluation", folder)
    document = watch.run("generate and measure", lambda: run_suite(context, ("follow", "joint")))
    watch.run(
        "train on", lambda: train_on(config, overrides, pipeline, context.generations.pipeline)
    )
    return _page(recipe, context, document, watch, 0.0)


def train_on(
    config: Path, overrides: Sequence[str], pipeline: str, pipe: MedCoDiPipeline
) -> Recipe:
    """A few steps of every stage from the weights of `pipe`, on images of another exposure."""
    recipe = shortened(load_recipe(config, ["name=quickstart", *overrides]))
    recipe.data.prepared = str(recipe.run_dir / "other_exposure")
    prepare(recipe, num_studies=NUM_OTHER, seed=HELD_OUT_SEED + 1, exposure=EXPOSURE)
    for stage in STAGES:
        start_from_pipeline(recipe, stage, pipe, pipeline)
        train_stage(recipe, stage)
    return recipe


def shortened(recipe: Recipe) -> Recipe:
    """STEPS of every stage, gently, with four validations and no preview."""
    recipe.diffusion.prompt_mean_share = 0.0  # the mean is trained already
    for stage, num_steps in STEPS.items():
        section = getattr(recipe, stage)
        section.num_steps, section.log_every = num_steps, 2
        section.validate_every, section.preview_every = num_steps // 4, 0
        section.paired_validation = False
        section.optim.lr *= GENTLE
        section.optim.warmup_steps = 2
        for own in section.per_modality.values():
            own["num_steps"], own["log_every"] = num_steps, 2
            if "lr" in own.get("optim", {}):
                own["optim"]["lr"] *= GENTLE
    return recipe


def run_from_scratch(
    config: Path, overrides: Sequence[str], num_evaluated: int, console: Console
) -> Path:
    """Train every stage of a recipe on its phantom (finished parts are skipped), measure, and
    return the page."""
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
    context = EvaluationContext(recipe, recipe.run_dir / "evaluation", folder)
    document = watch.run("evaluation", lambda: run_suite(context, ("follow", "joint")))
    return _page(recipe, context, document, watch, max(first, second))


def _page(
    recipe: Recipe,
    context: EvaluationContext,
    document: dict[str, Any],
    watch: Stopwatch,
    workers_gib: float,
) -> Path:
    """The page, and the times in timing.json. `workers_gib` is the peak of training processes."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * GIB_PER_KIB
    timing = {
        "seconds": watch.seconds,
        "total": sum(watch.seconds.values()),
        "peak_memory_gib": own + workers_gib,  # an upper bound: the peaks need not fall together
        "joint_batch_of_8_seconds": joint_sampling_seconds(context.generations.pipeline),
    }
    (recipe.run_dir / TIMING).write_text(json.dumps(timing, indent=1))
    page = build_page(recipe.run_dir, document, all_sheets(context), timing)
    watch.console.print(
        f"{timing['total']:.0f} s, peak memory {timing['peak_memory_gib']:.2f} GiB. Open {page}"
    )
    return page
