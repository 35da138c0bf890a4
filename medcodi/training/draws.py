"""Random numbers and data order of a training step, independent of the number of processes.

Every number of step s is drawn for the GLOBAL batch from (seed, s) on the CPU; a process keeps the
rows that are its own.
Legend: G global batch, B local rows.
"""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from medcodi.nn.seeding import derive_generator, derive_seed
from medcodi.nn.transfer import upload


class Draws:
    """Draws of one micro-batch: `rows` are its positions in the global batch of `global_batch`
    rows. Drawn on the CPU, returned on `device`; a GPU gets them from page-locked memory, so that
    the host need not wait for what it computes."""

    def __init__(
        self,
        seed: int,
        label: str,
        step: int,
        global_batch: int,
        rows: range,
        device: torch.device | str = "cpu",
    ) -> None:
        self.place = (seed, label, step)
        self.global_batch, self.device = global_batch, torch.device(device)
        self.generator = derive_generator(*self.place)
        # of the global batch, as they were asked for
        self._drawn: list[tuple[Callable, tuple[int, ...], torch.Tensor]] = []
        self._begin(rows)

    def _begin(self, rows: range) -> None:
        self.rows, self._asked = rows, 0
        self.local_generator = derive_generator(*self.place, rows.start)

    def of(self, rows: range) -> "Draws":
        """The draws of another micro-batch of the step, which asks for the same ones: each is drawn
        once a step."""
        other = copy.copy(self)
        other._begin(rows)
        return other

    def _draw(self, function: Callable, shape: tuple[int, ...]) -> torch.Tensor:
        if self._asked == len(self._drawn):
            self._drawn.append(
                (function, shape, function(self.global_batch, *shape, generator=self.generator))
            )
        same_function, same_shape, drawn = self._drawn[self._asked]
        assert (function, shape) == (same_function, same_shape), (
            "the micro-batches of a step ask for different numbers"
        )
        self._asked += 1
        return upload(drawn[self.rows.start : self.rows.stop], self.device)

    def of_row(self, index: torch.Tensor) -> "RowDraws":
        """The draws of the row at `index` (0-d, as vmap gives it) of this micro-batch."""
        return RowDraws(self, index)

    def normal(self, *shape: int) -> torch.Tensor:
        """(B, *shape) standard normal."""
        return self._draw(torch.randn, shape)

    def uniform(self, *shape: int) -> torch.Tensor:
        """(B, *shape) in [0, 1)."""
        return self._draw(torch.rand, shape)


class RowDraws:
    """The draws of one row inside vmap, as a batch of one."""

    def __init__(self, draws: Draws, index: torch.Tensor) -> None:
        self.draws, self.index, self.device = draws, index, draws.device

    def normal(self, *shape: int) -> torch.Tensor:
        """(1, *shape) standard normal."""
        return self.draws.normal(*shape).index_select(0, self.index[None])

    def uniform(self, *shape: int) -> torch.Tensor:
        """(1, *shape) in [0, 1)."""
        return self.draws.uniform(*shape).index_select(0, self.index[None])


class StepSampler(Sampler[list[int]]):
    """Yields the dataset indices of this process, micro-batch by micro-batch, from `first_step` to
    `num_steps`.

    The order is a permutation by (seed, epoch); position step * G continues across epochs, so that
    a resumed run sees exactly what the uninterrupted run would have seen.
    """

    def __init__(
        self,
        num_rows: int,
        seed: int,
        global_batch: int,
        micro_rows: list[range],
        first_step: int,
        num_steps: int,
    ) -> None:
        if num_rows == 0:
            raise ValueError("the training split has no row for this stage")
        self.num_rows, self.seed, self.global_batch = num_rows, seed, global_batch
        self.micro_rows, self.first_step, self.num_steps = micro_rows, first_step, num_steps
        self._permutations: dict[int, np.ndarray] = {}

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch not in self._permutations:
            self._permutations = {e: p for e, p in self._permutations.items() if e >= epoch - 1}
            generator = np.random.Generator(
                np.random.Philox(derive_seed(self.seed, "order", epoch))
            )
            self._permutations[epoch] = generator.permutation(self.num_rows)
        return self._permutations[epoch]

    def step_rows(self, step: int) -> tuple[int, list[range]]:
        """Rows of the global batch of a step, and the positions of each micro-batch in it."""
        return self.global_batch, self.micro_rows

    def indices(self, step: int, rows: range) -> list[int]:
        positions = range(
            step * self.global_batch + rows.start, step * self.global_batch + rows.stop
        )
        return [int(self._permutation(p // self.num_rows)[p % self.num_rows]) for p in positions]

    def __len__(self) -> int:
        return (self.num_steps - self.first_step) * len(self.micro_rows)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.num_steps):
            for rows in self.micro_rows:
                yield self.indices(step, rows)


def micro_batch_rows(
    global_batch: int, accumulation: int, world_size: int, rank: int
) -> list[range]:
    """Positions in the global batch of each micro-batch of this process. ValueError if it does not
    divide."""
    if global_batch % (accumulation * world_size):
        raise ValueError(
            f"batch_size {global_batch} (global) is not divisible by {world_size} processes x "
            f"{accumulation} "
            "gradient_accumulation_steps"
        )
    size = global_batch // (accumulation * world_size)
    return [
        range((a * world_size + rank) * size, (a * world_size + rank + 1) * size)
        for a in range(accumulation)
    ]
