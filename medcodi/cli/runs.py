"""`medcodi runs`: what trains, and what has trained."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from medcodi.cli.console import console, show_table

STILL = 3 * 60  # seconds without a row after which a stage is said to be still


def runs(
    folder: Annotated[Path, typer.Argument(help="folder of runs, or one run")] = Path("runs"),
) -> None:
    """List the stages of the runs in a folder: step, time left, last losses."""
    from medcodi.training.overview import list_stages

    stages = list_stages(folder)
    if not stages:
        console.print(f"no stage has begun below {folder}; start one: medcodi train autoencoder")
        return
    head = ["run", "stage", "step", "state", "left", "s/step", "train loss", "validation loss"]
    show_table(str(folder), head, [_row(stage, folder) for stage in stages])


def _row(stage, folder: Path) -> list[str]:
    run = stage.run.relative_to(folder).as_posix()
    run = run if run != "." else stage.run.resolve().name
    if stage.problem:
        return [run, stage.label, "?", stage.problem, "", "", "", ""]
    losses = [stage.losses.get(split) for split in ("train", "validation")]
    return [
        run,
        stage.label,
        f"{stage.step:,} of {stage.num_steps:,}",
        _state(stage),
        _time(stage.seconds_left) if not stage.done else "",
        "" if stage.sec_per_step is None else f"{stage.sec_per_step:.3g}",
        *("" if loss is None else f"{loss:.4g}" for loss in losses),
    ]


def _state(stage) -> str:
    if stage.done:
        return "complete"
    longest = max(STILL, 3 * (stage.sec_per_step or 0.0))
    return f"still for {_time(stage.idle)}" if stage.idle > longest else "training"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))
