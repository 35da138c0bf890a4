"""A stage that starts from imported weights: they become its checkpoint of step 0, which the stage
resumes.

So the training loop needs to know nothing of them, and what a stage exports is always its own:
latent statistics and reconstruction are measured on the data at hand, also with `num_steps: 0`,
which keeps a pretrained part as it is.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from medcodi.config import Recipe
from medcodi.config_io import for_modality
from medcodi.foreign.importing import AUTOENCODER, DENOISER, ENCODER
from medcodi.nn.weights import load_config, load_module, weights_hash
from medcodi.training.checkpoint import checkpoints, save_checkpoint, trainable_state
from medcodi.training.ema import EMA
from medcodi.training.exporting import DONE
from medcodi.training.identity import stage_identity
from medcodi.training.optimizer import build_optimizer
from medcodi.training.run import Run
from medcodi.training.task import Task
from medcodi.training.tasks import tasks_of

STAGE_OF = {AUTOENCODER: "autoencoder", ENCODER: "stage1", DENOISER: "stage2"}
STARTED = "started_from.json"


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
            written.append(_write(task, recipe, stage, name, sources))
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


def _write(task: Task, recipe: Recipe, stage: str, name: str, sources: dict[str, dict]) -> Path:
    folder = recipe.run_dir / task.label
    if checkpoints(folder / "checkpoints") or (folder / "export" / DONE).is_file():
        raise ValueError(f"{folder} has begun: remove it to start {task.label} from other weights")
    config = for_modality(getattr(recipe, stage), name) if name else getattr(recipe, stage)
    parameters = [p for p in task.parameters() if p.requires_grad]
    optimizer = build_optimizer(parameters, task, config.optim)
    identity = stage_identity(task, config, recipe.seed)
    ema = EMA(task, config.ema_decay)
    state = {
        "model": trainable_state(task),
        "optimizer": optimizer.state_dict(),
        "ema": ema.state_dict(),
    }
    written = save_checkpoint(folder / "checkpoints", 0, identity, state, config.checkpoints_kept)
    (folder / STARTED).write_text(json.dumps(sources, indent=1))
    return written
