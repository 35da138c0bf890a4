"""A stage that starts from weights that are there already: they become its checkpoint of step 0,
which the stage resumes.

So the training loop needs to know nothing of them, and what a stage exports is always its own:
latent statistics and reconstruction are measured on the data at hand, also with `num_steps: 0`,
which keeps a part as it is.
"""

import json
from pathlib import Path
from typing import Any

from medcodi.config import Recipe
from medcodi.config_io import for_modality
from medcodi.files import written
from medcodi.training.checkpoint import checkpoints, save_checkpoint, trainable_state
from medcodi.training.ema import EMA
from medcodi.training.exporting import DONE
from medcodi.training.identity import stage_identity
from medcodi.training.optimizer import build_optimizer
from medcodi.training.task import Task

STARTED = "started_from.json"


def has_begun(recipe: Recipe, task: Task) -> bool:
    """Whether there is anything that this task would resume or skip."""
    folder = recipe.run_dir / task.label
    return bool(checkpoints(folder / "checkpoints")) or (folder / "export" / DONE).is_file()


def write_start(task: Task, recipe: Recipe, stage: str, name: str, sources: dict[str, Any]) -> Path:
    """Write the networks of `task`, as they are, as its checkpoint of step 0; `sources` says where
    they come from. `name` is the task's modality, "" where it has none. Returns the checkpoint.
    ValueError for a stage that has begun."""
    folder = recipe.run_dir / task.label
    if has_begun(recipe, task):
        raise ValueError(f"{folder} has begun: remove it to start {task.label} from other weights")
    config = for_modality(getattr(recipe, stage), name) if name else getattr(recipe, stage)
    parameters = [p for p in task.parameters() if p.requires_grad]
    optimizer = build_optimizer(parameters, task, config.optim)
    state = {
        "model": trainable_state(task),
        "optimizer": optimizer.state_dict(),
        "ema": EMA(task, config.ema_decay).state_dict(),
    }
    identity = stage_identity(task, config, recipe.seed)
    saved = save_checkpoint(folder / "checkpoints", 0, identity, state, config.checkpoints_kept)
    with written(folder / STARTED) as path:
        path.write_text(json.dumps(sources, indent=1))
    return saved
