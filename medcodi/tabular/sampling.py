"""Rows drawn from the forest: what is given stays, and every constraint holds.

Legend: N rows, F modelled columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from medcodi.tabular.constraints import Constraint
from medcodi.tabular.forest import Forest
from medcodi.tabular.states import ColumnStates

CHUNK = 8192  # rows that are drawn at once
TRIES = 20  # times that a row that breaks a constraint is drawn anew
DIRECT = ("only_if", "sum")  # repaired at once: the other columns decide


@dataclass
class GivenRows:
    """`stored` (N, F) given values, NaN or None elsewhere; their `states` (N, F); `known` (N, F)
    bool."""

    stored: pd.DataFrame
    states: np.ndarray
    known: np.ndarray

    def take(self, rows: np.ndarray) -> "GivenRows":
        return GivenRows(self.stored.iloc[rows], self.states[rows], self.known[rows])


@dataclass
class RowSampler:
    """`may_miss` (F,) bool: the columns whose cells may be drawn as missing."""

    forest: Forest
    states: list[ColumnStates]
    constraints: Sequence[Constraint]
    may_miss: np.ndarray
    progress: bool = False

    def complete(self, given: GivenRows, seed: int, n: int | None = None) -> pd.DataFrame:
        """Stored values (N, F) with every cell drawn that is not given; `n` rows where one row is
        given for all. Raises ValueError for constraints that cannot hold."""
        rng = np.random.default_rng(seed)
        one_for_all = n is not None and len(given.known) == 1
        places = np.zeros(n, np.intp) if one_for_all else np.arange(len(given.known))
        starts = range(0, len(places), CHUNK)
        parts = [
            self._lawful(given.take(places[start : start + CHUNK]), rng)
            for start in tqdm(starts, desc="sample", unit="chunk", disable=not self.progress)
        ]
        whole = pd.concat(parts, ignore_index=True)
        for _ in range(TRIES if len(parts) > 1 else 0):  # rows of two chunks may be equal
            twice = self._broken(whole, only="unique")
            if not twice.any():
                break
            again = np.flatnonzero(twice)
            _put(whole, again, self._lawful(given.take(places[again]), rng))
        self._refuse(whole, given)
        return whole

    def _lawful(self, given: GivenRows, rng: np.random.Generator) -> pd.DataFrame:
        """Rows that break a constraint are drawn anew; what still breaks one is repaired."""
        rows = self._draw(given, rng)
        fixed = pd.DataFrame(given.known, columns=rows.columns)
        direct = [constraint for constraint in self.constraints if constraint.kind in DIRECT]
        for _ in range(TRIES):
            for constraint in direct:
                constraint.repair(rows, fixed, rng)
            again = np.flatnonzero(self._broken(rows) | self._outside(rows, fixed))
            if not len(again):
                return rows
            _put(rows, again, self._draw(given.take(again), rng))
        for _ in range(3):  # a repair may break another constraint
            for constraint in self.constraints:
                constraint.repair(rows, fixed, rng)
        return rows

    def _draw(self, given: GivenRows, rng: np.random.Generator) -> pd.DataFrame:
        filled = self.forest.sample(given.states, given.known, self.may_miss, rng)
        columns = {}
        for j, column in enumerate(self.states):
            drawn = column.stored(column.decode(filled[:, j], rng.random(len(filled))))
            name = column.column.name
            columns[name] = np.where(given.known[:, j], given.stored[name].to_numpy(), drawn)
            if not column.column.is_discrete:
                columns[name] = columns[name].astype(float)
        return pd.DataFrame(columns)

    def _broken(self, rows: pd.DataFrame, only: str = "") -> np.ndarray:
        """(N,) bool: the rows that break a constraint (of the kind `only`)."""
        broken = np.zeros(len(rows), bool)
        for constraint in self.constraints:
            if only in ("", constraint.kind):
                broken |= constraint.broken(rows)
        return broken

    def _outside(self, rows: pd.DataFrame, fixed: pd.DataFrame) -> np.ndarray:
        """(N,) bool: the rows in which a part of a sum left the range of its column to fit a
        total."""
        columns = {one.column.name: one.column for one in self.states}
        found = np.zeros(len(rows), bool)
        for constraint in self.constraints:
            for name in constraint.columns[1:] if constraint.kind == "sum" else ():
                cells, column = rows[name].to_numpy(float), columns[name]
                outside = (cells < column.minimum) | (cells > column.maximum)
                found |= outside & ~fixed[name].to_numpy()
        return found

    def _refuse(self, rows: pd.DataFrame, given: GivenRows) -> None:
        """Raises ValueError with the constraints that still do not hold."""
        broken = {c.name: int(c.broken(rows).sum()) for c in self.constraints}
        if told := ", ".join(f"{name}: {count} rows" for name, count in broken.items() if count):
            columns = np.array(given.stored.columns)[given.known.any(axis=0)]
            raise ValueError(
                f"these constraints cannot hold ({told}); they contradict each other or what is "
                f"given ({', '.join(columns) or 'nothing'})"
            )


def _put(rows: pd.DataFrame, at: np.ndarray, values: pd.DataFrame) -> None:
    for name in rows.columns:
        cells = rows[name].to_numpy().copy()
        cells[at] = values[name].to_numpy()
        rows[name] = cells
