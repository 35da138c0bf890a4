"""A stage is a task: what trains, what is frozen, how a batch becomes named losses. The loop knows
only this class."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medcodi.config import StageConfig
from medcodi.training.draws import Draws


class Task(nn.Module, ABC):
    """Submodules with `requires_grad` train. `label` names the run folder below `runs/NAME/`, as in
    `stage2/frontal`."""

    label: str
    find_unused_parameters = False
    # what smaller micro-batches of the same batch change but for rounding; "": nothing, a resumed
    # run may have others
    accumulation_changes = "how rows are weighed or what noise they get"

    @abstractmethod
    def forward(self, batch: Any, draws: Draws, progress: float) -> dict[str, torch.Tensor]:
        """Scalar losses with the key `loss`; `progress` in [0, 1]."""

    @abstractmethod
    def dataset(self, split: str) -> Any:
        """`len()` and `[list of indices] -> batch` of a split."""

    @abstractmethod
    def dependencies(self) -> dict[str, Any]:
        """JSON-like identity of all that this task builds on: recipe parts, hashes of frozen
        weights (training/identity.py)."""

    def validate(self, data: Any, config: StageConfig, seed: int) -> dict[str, float]:
        """Mean losses on `data`, the dataset of the validation split, with fixed draws: the same
        numbers for the same weights."""
        size = min(config.batch_size, len(data))
        totals: dict[str, float] = {}
        batches = min(config.validation_batches, len(data) // size) if size else 0
        for index in range(batches):
            draws = Draws(seed, f"{self.label}/validation", index, size, range(size))
            batch = to_device(data[list(range(index * size, (index + 1) * size))], self.device)
            for name, value in self(batch, draws, 1.0).items():
                totals[name] = totals.get(name, 0.0) + float(value) / batches
        return totals

    def preview(self, folder: Path, step: int) -> None:
        """Write pictures of what the model does at `step` (default: none)."""

    def finalize(self) -> dict[str, Any]:
        """After training, with the averaged weights: measure what later stages need; goes to
        export/config.json."""
        return {}

    def patients(self, split: str) -> Sequence[str]:
        """The patient of each row of `dataset(split)`, for differential privacy. ValueError where
        this task cannot train with it: its loss must be a mean over rows, and nothing else may be
        read from them."""
        raise ValueError(f"{self.label} cannot train with dp: leave it out, only stage 2 can")

    @abstractmethod
    def export(self, folder: Path, config: dict[str, Any]) -> None:
        """Write the result of the stage to `folder` (safetensors and config.json)."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def to_device(batch: Any, device: torch.device) -> Any:
    """Move tensors inside dicts, lists, tuples and dataclasses."""
    return map_tensors(batch, lambda tensor: tensor.to(device, non_blocking=True))


def map_tensors(batch: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`function` of the tensors inside dicts, lists, tuples and dataclasses; everything else as it
    is."""
    if isinstance(batch, torch.Tensor):
        return function(batch)
    if isinstance(batch, dict):
        return {k: map_tensors(v, function) for k, v in batch.items()}
    if isinstance(batch, (list, tuple)) and batch and not isinstance(batch[0], str):
        return type(batch)(map_tensors(v, function) for v in batch)
    if hasattr(batch, "__dataclass_fields__"):
        return type(batch)(
            **{k: map_tensors(getattr(batch, k), function) for k in batch.__dataclass_fields__}
        )
    return batch
