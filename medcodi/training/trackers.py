"""Experiment trackers beside metrics.jsonl: TensorBoard, Weights & Biases, MLflow, by accelerate.

A recipe names them (`tracking: [tensorboard, mlflow]`). They get what metrics.jsonl gets, the
previews as images and the configuration. A stage that is resumed goes on in its own run, whose name
stands in `trackers.json` beside its metrics.
"""

import contextlib
import fcntl
import importlib.util
import json
import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from accelerate.tracking import (
    GeneralTracker,
    MLflowTracker,
    TensorBoardTracker,
    WandBTracker,
)
from PIL import Image

from medcodi.config import TRACKERS, Recipe
from medcodi.config_io import to_dict
from medcodi.files import written

logger = logging.getLogger(__name__)
RUNS = "trackers.json"


def check_trackers(recipe: Recipe) -> None:
    """ValueError when a tracker of the recipe is not installed."""
    for name in recipe.tracking:
        missing = [p for p in TRACKERS[name] if importlib.util.find_spec(p) is None]
        if missing:
            raise ValueError(
                f"tracking: {name} needs {', '.join(missing)}: pip install 'medcodi[{name}]', or "
                f"take {name} out of `tracking`"
            )


class Trackers:
    """Those of one stage, in its main process. One that fails is left out from then on, with a
    warning: it never ends a training."""

    def __init__(self, recipe: Recipe, label: str, first_step: int) -> None:
        self.open: dict[str, GeneralTracker] = {}
        names, folder = recipe.tracking, recipe.run_dir / "tracking"
        if not names:
            return
        folder.mkdir(parents=True, exist_ok=True)
        runs = _runs(recipe.run_dir / label / RUNS, first_step)
        for name in names:
            with self._survived(name), _alone(folder):
                known = name in runs
                self.open[name] = OPEN[name](recipe, label, first_step, runs.get(name))
                runs[name] = self.open[name].start()
                if not known:
                    _describe(self.open[name], recipe)
        with written(recipe.run_dir / label / RUNS) as temporary:
            temporary.write_text(json.dumps(runs, indent=1))

    def log(self, row: Mapping[str, Any]) -> None:
        """A row of metrics.jsonl: its numbers, as SPLIT/NAME, at its step."""
        values = {f"{row['split']}/{name}": x for name, x in _numbers(row) if name != "step"}
        for name in list(self.open):
            with self._survived(name):
                self.open[name].log(values, step=row["step"])

    def log_image(self, path: Path, step: int) -> None:
        """A picture that was written to `path`."""
        for name in list(self.open):
            with self._survived(name):
                tracker = self.open[name]
                if isinstance(tracker, MLflowTracker):
                    tracker.log_artifact(str(path), "previews")
                    continue
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert("RGB"))[None]  # (1, H, W, 3) uint8
                layout = {"dataformats": "NHWC"} if name == "tensorboard" else {}
                tracker.log_images({"preview": pixels}, step=step, **layout)

    def close(self) -> None:
        for name in list(self.open):
            with self._survived(name):
                self.open[name].finish()

    @contextlib.contextmanager
    def _survived(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a server that is away, a full disk, a package's own fault
            logger.warning(
                "tracker %s failed and is left out from here on (metrics.jsonl has everything): %s",
                name,
                " ".join(str(error).split()),
            )
            if name in self.open:
                with contextlib.suppress(Exception):
                    self.open.pop(name).finish()


def _runs(path: Path, first_step: int) -> dict[str, str]:
    """Tracker -> its run of this stage; none for a stage that begins."""
    return json.loads(path.read_text()) if first_step and path.is_file() else {}


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Stages that train side by side share the folder, and begin in it one after the other."""
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _TensorBoard(TensorBoardTracker):
    """Event files in tracking/tensorboard/LABEL; those of steps that come again are purged."""

    def __init__(self, recipe: Recipe, label: str, first_step: int, run: str | None) -> None:
        folder = recipe.run_dir / "tracking" / "tensorboard"
        super().__init__(label, str(folder), purge_step=first_step + 1)

    def start(self) -> str:
        super().start()
        return self.run_name


class _WandB(WandBTracker):
    """Project NAME, run LABEL. WANDB_MODE=offline keeps everything in the folder."""

    def __init__(self, recipe: Recipe, label: str, first_step: int, run: str | None) -> None:
        folder = str((recipe.run_dir / "tracking").resolve())
        named = {"id": run or uuid.uuid4().hex[:12], "name": label, "group": recipe.name}
        super().__init__(recipe.name, **named, resume="allow", dir=folder)

    def start(self) -> str:
        super().start()
        return self.run.id


class _MLflow(MLflowTracker):
    """Experiment NAME, run LABEL, in tracking/mlflow.db, or where MLFLOW_TRACKING_URI says."""

    def __init__(self, recipe: Recipe, label: str, first_step: int, run: str | None) -> None:
        folder = (recipe.run_dir / "tracking").resolve()
        self.own = None
        if "MLFLOW_TRACKING_URI" not in os.environ:
            self.own = f"sqlite:///{folder / 'mlflow.db'}"
        artifacts = (folder / "mlflow").as_uri() if self.own else None
        super().__init__(recipe.name, artifacts, run_id=run, run_name=label)

    def start(self) -> str:
        import mlflow

        if self.own:
            mlflow.set_tracking_uri(self.own)
        super().start()
        return self.tracker.info.run_id

    def finish(self) -> None:
        import mlflow

        super().finish()
        if self.own:  # it is the process's, and of the environment: the next stage has its own
            mlflow.set_tracking_uri(None)


OPEN = {"tensorboard": _TensorBoard, "wandb": _WandB, "mlflow": _MLflow}


def _describe(tracker: GeneralTracker, recipe: Recipe) -> None:
    """The recipe, once a run. TensorBoard's own form of it would be a run more: it gets a text."""
    if isinstance(tracker, TensorBoardTracker):
        text = yaml.safe_dump(json.loads(json.dumps(to_dict(recipe))), sort_keys=False)
        tracker.log({"recipe": f"```yaml\n{text}```"}, step=0)
    else:
        tracker.store_init_configuration(dict(_leaves(to_dict(recipe))))


def _leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of a nested mapping."""
    if not isinstance(values, Mapping):
        yield prefix, values
        return
    for key, value in values.items():
        yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in _leaves(row):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, value
