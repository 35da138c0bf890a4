"""From a pipeline back to the stages of a run: train on, on other data, from its weights."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from medcodi.config import Recipe
from medcodi.files import written
from medcodi.nn.weights import fill_module
from medcodi.pipeline import MedCoDiPipeline
from medcodi.training.run import Run
from medcodi.training.starting import has_begun, write_start
from medcodi.training.task import Task
from medcodi.training.tasks import tasks_of

ASSETS = "assets.json"


def start_from_pipeline(
    recipe: Recipe, stage: str, pipe: MedCoDiPipeline, where: str
) -> list[Path]:
    """Put the networks of a pipeline, which came from `where`, under those tasks of a stage that
    have not begun; returns the checkpoints. A stage after stage 1 needs the ones before it.

    A run that begins with this takes the pipeline's tokenizers and table schema, too. ValueError
    for networks of other sizes and for a run whose tokenizers or schema are others.
    """
    fresh = _keep_assets(recipe, pipe, where)
    try:
        filled = _filled(recipe, stage, pipe, where)
    except BaseException:
        if fresh:  # the run has not begun: the next one fits its own
            (recipe.run_dir / ASSETS).unlink(missing_ok=True)
        raise
    sources = {where: {"pipeline": pipe.model_hash, "data": pipe.facts.data_hash}}
    return [write_start(task, recipe, stage, name, sources) for name, task in filled]


def _filled(
    recipe: Recipe, stage: str, pipe: MedCoDiPipeline, where: str
) -> list[tuple[str, Task]]:
    """(name, task) of those that have not begun, with the pipeline's weights."""
    filled = []
    for name, task_class, arguments in tasks_of(Run(recipe), stage):
        task = task_class(*arguments)
        if has_begun(recipe, task):
            continue
        try:
            pairs = _pairs(task, stage, arguments, pipe)
        except KeyError as error:
            raise ValueError(
                f"{where} has no network of {error.args[0]!r} for {stage}: it was trained with "
                f"{', '.join(pipe.family.names)}"
            ) from None
        for module, given in pairs:
            expected = module.state_dict()
            state = given.state_dict()
            if stage == "stage2":  # what couples a denoiser to others is trained in stage 3
                coupled = pipe.family.build_diffusion(arguments[1], coupled=True).state_dict()
                added = (
                    coupled.keys() - pipe.family.build_diffusion(arguments[1]).state_dict().keys()
                )
                state = {key: value for key, value in state.items() if key not in added}
            values = {k: v.to(expected[k].dtype) if k in expected else v for k, v in state.items()}
            fill_module(module, values, where)
        filled.append((name, task))
    return filled


def _keep_assets(recipe: Recipe, pipe: MedCoDiPipeline, where: str) -> bool:
    """Whether the run had none before."""
    path = recipe.run_dir / ASSETS
    given = json.loads(json.dumps(pipe.family.assets))
    if path.is_file() and json.loads(path.read_text()) != given:
        raise ValueError(
            f"{path} holds other tokenizers or another table schema than {where}: a run that "
            "starts from a pipeline takes them from there, so start it in a folder of its own"
        )
    fresh = not path.is_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as temporary:
        temporary.write_text(json.dumps(given))
    return fresh


def _pairs(
    task: Any, stage: str, arguments: tuple[Any, ...], pipe: MedCoDiPipeline
) -> list[tuple[nn.Module, nn.Module]]:
    """(network of the task, network of the pipeline that it starts as)."""
    parts = pipe.components
    if stage == "autoencoder":
        return [(task.autoencoder, parts["autoencoder"][arguments[1]])]
    if stage == "stage1":
        return [(encoder, parts["encoder"][n]) for n, encoder in task.space.encoders.items()]
    if stage == "stage2":
        return [(task.diffusion, parts["diffusion"][arguments[1]])]
    joint = task.joint
    return [(model, parts["diffusion"][n]) for n, model in joint.diffusions.items()] + [
        (model, parts["environment"][n]) for n, model in joint.environments.items()
    ]
