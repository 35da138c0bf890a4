"""What a run leaves behind while it trains: metrics.jsonl, environment.json, progress on the
terminal."""

import contextlib
import importlib.metadata
import json
import logging
import math
import multiprocessing
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.progress import Progress, TextColumn

from medcodi.config import Recipe, StageConfig
from medcodi.config_io import save_yaml, to_dict
from medcodi.data.progress import progress_bar
from medcodi.nn.precision import has_bf16
from medcodi.training.task import Task
from medcodi.training.trackers import Trackers

logger = logging.getLogger(__name__)
PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "open_clip_torch",
    "datasets",
    "safetensors",
    "medcodi",
)


def environment(device: torch.device, num_processes: int) -> dict[str, Any]:
    """Versions, git commit and device, for environment.json."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "python": platform.python_version(),
        "packages": versions,
        "git_commit": _git_commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "multiplies_in_bf16": has_bf16(device),  # what `mixed_precision: auto` goes by
        "num_processes": num_processes,
        "num_threads": torch.get_num_threads(),
    }


def _git_commit() -> str | None:
    """None outside a repository, and without git."""
    command = ["git", "-C", str(Path(__file__).resolve().parents[2]), "rev-parse", "HEAD"]
    try:
        return (
            subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
            or None
        )
    except OSError:
        return None


class MetricsFile:
    """metrics.jsonl: one JSON object a line, appended; rows after `resume_step`, and one that a
    kill or a full disk cut short, are dropped, so that none repeats."""

    def __init__(self, path: Path, resume_step: int) -> None:
        self.path = path
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if _step_of(line) <= resume_step]
            path.write_text("".join(line + "\n" for line in kept))

    def write(self, row: dict[str, Any]) -> None:
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf


def read_metrics(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def describe_run(recipe: Recipe, folder: Path, accelerator: Accelerator) -> None:
    """Write config.yaml and environment.json of a run."""
    folder.mkdir(parents=True, exist_ok=True)
    save_yaml(to_dict(recipe), folder / "config.yaml")
    described = environment(accelerator.device, accelerator.num_processes)
    (folder / "environment.json").write_text(json.dumps(described, indent=2))


def is_due(step: int, every: int, num_steps: int) -> bool:
    """Every so many steps and at the last one; 0: never."""
    return bool(every) and (step % every == 0 or step == num_steps)


class Monitor:
    """What a stage tells while it trains: log lines, metrics.jsonl, trackers, validation and
    previews. Only the main process (`enabled`) writes."""

    def __init__(
        self, recipe: Recipe, label: str, config: StageConfig, first_step: int, enabled: bool
    ) -> None:
        folder = recipe.run_dir / label
        self.config, self.previews, self.enabled = config, folder / "previews", enabled
        self.metrics = MetricsFile(folder / "metrics.jsonl", first_step) if enabled else None
        self.trackers = Trackers(recipe, label, first_step) if enabled else None
        self.progress = ProgressLine(label, first_step, config.num_steps, enabled)
        self.clock, self.clock_step = time.perf_counter(), first_step

    def log(self, step: int, losses: Mapping[str, torch.Tensor], lr: float) -> None:
        """After every step; writes every `log_every` steps."""
        self.progress.advance(step)
        if not is_due(step, self.config.log_every, self.config.num_steps):
            return
        sec_per_step = (time.perf_counter() - self.clock) / (step - self.clock_step)
        row = {name: float(value) for name, value in losses.items()}
        self.progress.log(step, row, sec_per_step)
        self._write({"step": step, "split": "train", **row, "lr": lr, "sec_per_step": sec_per_step})

    def is_watched(self, step: int) -> bool:
        """Whether validation or a preview is due."""
        config = self.config
        every = (config.validate_every, config.preview_every)
        return any(is_due(step, x, config.num_steps) for x in every)

    def watch(self, step: int, averaged: Task, validation: Any, seed: int) -> None:
        """Validation and preview of the task with its averaged weights, where they are due."""
        config = self.config
        if is_due(step, config.validate_every, config.num_steps):
            row = averaged.validate(validation, config, seed)
            self._write({"step": step, "split": "validation", **row})
        if self.enabled and is_due(step, config.preview_every, config.num_steps):
            self.previews.mkdir(parents=True, exist_ok=True)
            averaged.preview(self.previews, step)
            for picture in sorted(self.previews.glob(f"step_{step}.png")):
                self.trackers.log_image(picture, step)

    def restart_clock(self, step: int) -> None:
        """Validation and previews are no part of the seconds of a step."""
        if is_due(step, self.config.log_every, self.config.num_steps):
            self.clock, self.clock_step = time.perf_counter(), step

    def final(self, step: int, found: dict[str, Any]) -> None:
        """What was measured after the last step."""
        self._write({"step": step, "split": "final", **found})

    def _write(self, row: dict[str, Any]) -> None:
        if self.enabled:
            self.metrics.write(row)
            self.trackers.log(row)

    def close(self) -> None:
        """After the final row."""
        if self.enabled:
            self.trackers.close()


class ProgressLine:
    """A rich bar with ETA on a terminal, one plain line per logging interval elsewhere, and in
    worker processes, whose bars would write over each other."""

    def __init__(self, label: str, first_step: int, num_steps: int, enabled: bool) -> None:
        self.label, self.num_steps, self.enabled = label, num_steps, enabled
        self.bar: Progress | None = None
        if enabled and sys.stderr.isatty() and multiprocessing.parent_process() is None:
            self.bar = progress_bar(TextColumn("{task.fields[note]}"))
            self.task = self.bar.add_task(label, total=num_steps, completed=first_step, note="")
            self.bar.start()

    def advance(self, step: int) -> None:
        if self.bar:
            self.bar.update(self.task, completed=step)

    def log(self, step: int, row: dict[str, float], sec_per_step: float) -> None:
        note = " ".join(f"{k}={v:.4g}" for k, v in row.items())
        if self.bar:
            self.bar.update(self.task, completed=step, note=note)
        elif self.enabled:
            left = (self.num_steps - step) * sec_per_step
            logger.info(
                "%s step %d/%d %s (%.3f s/step, %.0f s left)",
                self.label,
                step,
                self.num_steps,
                note,
                sec_per_step,
                left,
            )

    def close(self) -> None:
        if self.bar:
            self.bar.stop()
