"""Poisson sampling: each unit takes part in each step with the same probability, on its own.

Legend: N rows, U units, B rows of a micro-batch.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch.utils.data import Sampler

from medcodi.nn.seeding import derive_generator


def unit_numbers(patients: Sequence[str], unit: str) -> np.ndarray:
    """(N,) the unit of each row, from 0: its patient, or the row itself."""
    if unit == "patient":
        return np.unique(np.asarray(patients), return_inverse=True)[1]
    return np.arange(len(patients))


class PoissonSampler(Sampler[list[int]]):
    """Yields the rows of the drawn units, those of a unit in one micro-batch. The draw of a step
    depends on `key` and the step alone: a resumed run needs no state."""

    def __init__(
        self,
        units: np.ndarray,
        sample_rate: float,
        key: str,
        micro_size: int,
        first_step: int,
        num_steps: int,
    ) -> None:
        """`units` (N,) from 0. Micro-batches have up to `micro_size` rows, more where one unit
        has."""
        order = np.argsort(units, kind="stable")
        self.rows_of = np.split(order, np.cumsum(np.bincount(units))[:-1])
        self.sample_rate, self.key, self.micro_size = sample_rate, key, micro_size
        self.steps = range(first_step, num_steps)
        self._planned: tuple[int, list[list[np.ndarray]]] = (-1, [])

    def _plan(self, step: int) -> list[list[np.ndarray]]:
        """Micro-batches of a step, each the rows of its units."""
        if self._planned[0] != step:
            generator = derive_generator(self.key, "sampling", step)
            drawn = torch.rand(len(self.rows_of), generator=generator, dtype=torch.float64)
            parts: list[list[np.ndarray]] = []
            held = self.micro_size
            for unit in (drawn < self.sample_rate).nonzero()[:, 0].tolist():
                rows = self.rows_of[unit]
                if held + len(rows) > self.micro_size:
                    parts.append([])
                    held = 0
                parts[-1].append(rows)
                held += len(rows)
            self._planned = (step, parts)
        return self._planned[1]

    def step_rows(self, step: int) -> tuple[int, list[range]]:
        """Rows of a step, and the positions of each micro-batch among them; none where no unit was
        drawn."""
        ends = np.cumsum([0] + [sum(map(len, part)) for part in self._plan(step)]).tolist()
        return ends[-1], [range(a, b) for a, b in pairwise(ends)]

    def step_units(self, step: int) -> int:
        """Units that were drawn for a step."""
        return sum(map(len, self._plan(step)))

    def units(self, step: int, micro: int) -> torch.Tensor:
        """(B,) the unit of each row of a micro-batch, from 0."""
        counts = torch.tensor([len(rows) for rows in self._plan(step)[micro]])
        return torch.arange(len(counts)).repeat_interleave(counts)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            yield from [np.concatenate(part).tolist() for part in self._plan(step)]
