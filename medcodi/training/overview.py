"""What stands in a folder of runs: each stage with its step, its losses and the time that is left.

Read from what training writes (config.yaml, metrics.jsonl, done.json), also while it trains.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medcodi.config_io import for_modality, load_recipe
from medcodi.training.exporting import DONE
from medcodi.training.tracking import read_metrics


@dataclass
class StageState:
    """One stage of a run. `seconds_left` and `losses` (split -> last loss) are of the last rows of
    metrics.jsonl, `idle` the seconds since it was written. `problem` says why the rest is not
    known."""

    run: Path
    label: str
    step: int = 0
    num_steps: int = 0
    done: bool = False
    sec_per_step: float | None = None
    losses: dict[str, float] | None = None
    idle: float = 0.0
    problem: str = ""

    @property
    def seconds_left(self) -> float | None:
        if self.sec_per_step is None:
            return None
        return 0.0 if self.done else (self.num_steps - self.step) * self.sec_per_step


def list_stages(folder: Path) -> list[StageState]:
    """Every stage below `folder` that has begun, by run. Raises FileNotFoundError when `folder` is
    none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: expected a folder of runs, or one run")
    return [_read(path.parent) for path in sorted(folder.rglob("metrics.jsonl"))]


def hours(stage: Path) -> float:
    """Hours of training steps of a stage (its run folder), resumed or not, without validation and
    previews: the seconds a step of metrics.jsonl, summed."""
    total, before = 0.0, 0
    for row in read_metrics(stage / "metrics.jsonl"):
        if row["split"] == "train":
            total += row["sec_per_step"] * (row["step"] - before)
            before = row["step"]
    return total / 3600


def _read(stage: Path) -> StageState:
    depth = 1 if stage.name.startswith("stage") else 2  # stage1, or stage2/NAME
    run = stage.parents[depth - 1]
    state = StageState(run, stage.relative_to(run).as_posix())
    try:
        state.num_steps = _num_steps(stage, state.label)
        rows = read_metrics(stage / "metrics.jsonl")
    except (ValueError, OSError) as error:
        state.problem = " ".join(str(error).split())
        return state
    trained = [row for row in rows if row["split"] == "train"]
    if trained:
        state.step, state.sec_per_step = trained[-1]["step"], trained[-1]["sec_per_step"]
    state.losses = {row["split"]: row["loss"] for row in rows if "loss" in row}
    state.done = (stage / "export" / DONE).is_file()
    state.idle = time.time() - (stage / "metrics.jsonl").stat().st_mtime
    return state


def _num_steps(stage: Path, label: str) -> int:
    """As the recipe beside the metrics says. A group's settings are those of its first modality."""
    recipe = load_recipe(stage / "config.yaml")
    name, _, part = label.partition("/")

    def group(modality: str) -> Any:
        return recipe.modalities[modality].get("group") or modality

    members = [m for m in recipe.modalities if part in (m, group(m))]
    return for_modality(getattr(recipe, name), members[0] if part else "").num_steps
