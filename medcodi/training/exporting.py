"""The export of a finished stage, and `done.json`, which is written last."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from medcodi.config import Recipe
from medcodi.data.prepared import dataset_hash
from medcodi.files import written
from medcodi.training.checkpoint import write_error
from medcodi.training.task import Task
from medcodi.training.tracking import Monitor

DONE = "done.json"


def is_done(export: Path, fingerprint: str) -> bool:
    """Whether the folder `export` is that of `fingerprint`. One that a full disk cut short says
    nothing."""
    try:
        return json.loads((export / DONE).read_text())["fingerprint"] == fingerprint
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def data_hash(recipe: Recipe) -> str:
    """Of the prepared studies that a stage trained on, as `Run.data_hash`; "" where there is no
    prepared folder."""
    prepared = recipe.data.prepared
    return dataset_hash(prepared) if Path(prepared or "-").is_dir() else ""


def export_stage(
    task: Task,
    export: Path,
    fingerprint: str,
    step: int,
    monitor: Monitor,
    told: Mapping[str, Any],
) -> None:
    """Measure what later stages need and write `task` to `export`, its config.json with what is
    `told` besides. CheckpointError when the disk is full; the checkpoints beside `export` stay."""
    found = task.finalize()
    monitor.final(step, found)
    config = {"fingerprint": fingerprint, "step": step, **told, **found}
    try:
        task.export(export, config)
        with written(export / DONE) as temporary:
            temporary.write_text(json.dumps({"fingerprint": fingerprint, "step": step}))
    except (OSError, SafetensorError) as error:
        raise write_error(export, error, export.parent / "checkpoints") from error
