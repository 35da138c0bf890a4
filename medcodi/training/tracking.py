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
from pathlib import Path
from typing import Any

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

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


class ProgressLine:
    """A rich bar with ETA on a terminal, one plain line per logging interval elsewhere, and in
    worker processes, whose bars would write over each other."""

    def __init__(self, label: str, first_step: int, num_steps: int, enabled: bool) -> None:
        self.label, self.num_steps, self.enabled = label, num_steps, enabled
        self.bar: Progress | None = None
        if enabled and sys.stderr.isatty() and multiprocessing.parent_process() is None:
            self.bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
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
