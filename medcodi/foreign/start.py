"""A stage that starts from imported weights (training/starting.py)."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from medcodi.config import Recipe
from medcodi.foreign.importing import AUTOENCODER, DENOISER, ENCODER
from medcodi.nn.weights import load_config, load_module, weights_hash
from medcodi.training.run import Run
from medcodi.training.starting import write_start
from medcodi.training.task import Task
from medcodi.training.tasks import tasks_of

STAGE_OF = {AUTOENCODER: "autoencoder", ENCODER: "stage1", DENOISER: "stage2"}


def start_stage(recipe: Recipe, stage: str, folders: Sequence[str | Path]) -> list[Path]:
    """Put imported weights (folders of `import_*`) under a stage that has not begun; returns the
    checkpoints.

    The rest of the stage's networks starts as without them. Changing the recipe afterwards makes
    another stage: start again. Raises ValueError for weights of another stage or modality, and for
    a stage that has begun.
    """
    configs = {Path(folder): load_config(folder) for folder in folders}
    for folder, config in configs.items():
        if STAGE_OF.get(config.get("foreign")) != stage:
            raise ValueError(
                f"{folder} holds {config.get('foreign')!r} weights, which start "
                f"{STAGE_OF.get(config.get('foreign'), 'no stage')!r}, not {stage!r}"
            )
    owners = tasks_of(Run(recipe), stage)
    lost = [
        str(f)
        for f, config in configs.items()
        if not any(_owns(args, config["name"]) for _, _, args in owners)
    ]
    if lost:
        raise ValueError(
            f"{lost} are for a modality or group that {stage!r} of this recipe does not train now"
        )
    written = []
    for name, task_class, arguments in owners:
        own = {
            folder: config for folder, config in configs.items() if _owns(arguments, config["name"])
        }
        if own:
            task = task_class(*arguments)
            for folder, config in own.items():
                load_module(_target(task, config["foreign"], config["name"]), folder)
            sources = {str(f): {**config, "weights": weights_hash(f)} for f, config in own.items()}
            written.append(write_start(task, recipe, stage, name, sources))
    return written


def _owns(arguments: tuple, name: str) -> bool:
    """Whether a task, by its arguments (run) or (run, group or modality), trains the part called
    `name`."""
    return name == arguments[1] if len(arguments) > 1 else name in arguments[0].family.groups


def _target(task: Task, part: str, name: str) -> nn.Module:
    """Submodule of a stage's task that the weights are for."""
    if part == AUTOENCODER:
        return task.autoencoder
    return task.space.encoders[name] if part == ENCODER else task.diffusion.denoiser
