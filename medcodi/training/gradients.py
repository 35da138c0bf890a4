"""What a step makes of its micro-batches: the order of the rows, and their gradient.

`BatchGradients` is the plain rule: the mean over the batch, clipped. `dp/gradients.py` has the
other one, differential privacy.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from medcodi.config import StageConfig
from medcodi.nn.seeding import derive_seed
from medcodi.training.draws import Draws, StepSampler
from medcodi.training.parallel.topology import Topology
from medcodi.training.task import Task

Losses = dict[str, torch.Tensor]


class Order(Protocol):
    """Yields the rows of the data, micro-batch by micro-batch."""

    def step_rows(self, step: int) -> tuple[int, list[range]]:
        """Rows of the global batch of a step, and the positions of each micro-batch in it."""

    def __iter__(self) -> Iterator[list[int]]: ...


class Gradients(Protocol):
    """A rule. `order` says which rows each step reads."""

    order: Order

    def add(self, batch: Any, draws: Draws, step: int, micro: int) -> Losses:
        """Gradients of micro-batch number `micro` of a step; its part of the step's losses."""

    def finish(self, step: int) -> torch.Tensor | float:
        """The gradient of the step, after its last micro-batch. Returns its norm."""

    def told(self, step: int) -> dict[str, Any]:
        """What checkpoints and the export say of `step` steps with this rule."""


class BatchGradients:
    """The mean over the global batch, clipped to `optim.max_grad_norm`."""

    def __init__(
        self, config: StageConfig, topology: Topology, num_rows: int, seed: int, first_step: int
    ) -> None:
        self.config, self.topology = config, topology
        self.order = StepSampler(
            num_rows, seed, config.batch_size, topology.micro_rows, first_step, config.num_steps
        )

    def add(self, batch: Any, draws: Draws, step: int, micro: int) -> Losses:
        count, topology = len(self.topology.micro_rows), self.topology
        last = micro == count - 1
        with topology.micro_batch(last), topology.accelerator.autocast():
            losses = topology.model(batch, draws, step / self.config.num_steps)
            topology.backward(losses["loss"], last)
        return {name: value.detach() / count for name, value in losses.items()}

    def finish(self, step: int) -> torch.Tensor | float:
        return self.topology.clip()

    def told(self, step: int) -> dict[str, Any]:
        return {}


def gradients_of(
    task: Task,
    config: StageConfig,
    topology: Topology,
    data: Any,
    seed: int,
    first_step: int,
    folder: Path,
) -> Gradients:
    """The rule of a stage whose run folder is `folder`. ValueError where `dp` cannot be had."""
    seed = derive_seed(seed, task.label)
    if config.dp is None:
        return BatchGradients(config, topology, len(data), seed, first_step)
    from medcodi.training.dp import private_gradients  # opacus is an extra

    return private_gradients(task, config, topology, first_step, folder)
