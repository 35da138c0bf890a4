"""Rows drawn from the forest: what is given stays, and every constraint holds.

Legend: N rows, F modelled columns.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

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
class Taken:
    """The keys that rows drawn before have in the columns of each `unique` constraint: sorted
    hashes of 64 bits. A row whose key has the hash of another is drawn anew without need, which
    about never happens."""

    hashes: dict[str, np.ndarray] = field(default_factory=dict)

    def holds(self, rows: pd.DataFrame, constraint: Constraint) -> np.ndarray:
        """(N,) bool: the rows whose key is taken."""
        found = np.zeros(len(rows), bool)
        if constraint.name in self.hashes:
            before = self.hashes[constraint.name]
            known, keys = _keys(rows, constraint.columns)
            places = np.searchsorted(before, keys).clip(max=max(len(before) - 1, 0))
            found[known] = before[places] == keys if len(before) else False
        return found

    def add(self, rows: pd.DataFrame, constraints: Sequence[Constraint]) -> None:
        for constraint in constraints:
            if constraint.kind == "unique":
                before = self.hashes.get(constraint.name, np.zeros(0, np.uint64))
                new = np.sort(_keys(rows, constraint.columns)[1])
                merged = np.insert(before, np.searchsorted(before, new), new)
                self.hashes[constraint.name] = merged


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
        return pd.concat(self.chunks(given, seed, n), ignore_index=True)

    def chunks(self, given: GivenRows, seed: int, n: int | None = None) -> Iterator[pd.DataFrame]:
        """The rows of `complete` as they are drawn, `CHUNK` at once. What is kept of those before
        are the keys of `unique` constraints."""
        rng, taken = np.random.default_rng(seed), Taken()
        one_for_all = n is not None and len(given.known) == 1
        num = n if n is not None else len(given.known)
        starts = range(0, num, CHUNK)
        for start in tqdm(starts, desc="sample", unit="chunk", disable=not self.progress):
            places = np.arange(start, min(start + CHUNK, num))
            part = given.take(np.zeros_like(places) if one_for_all else places)
            rows = self._lawful(part, rng, taken)
            self._refuse(rows, part, taken)
            taken.add(rows, self.constraints)
            yield rows

    def _lawful(self, given: GivenRows, rng: np.random.Generator, taken: "Taken") -> pd.DataFrame:
        """Rows that break a constraint are drawn anew; what still breaks one is repaired."""
        rows = self._draw(given, rng)
        fixed = pd.DataFrame(given.known, columns=rows.columns)
        direct = [constraint for constraint in self.constraints if constraint.kind in DIRECT]
        for _ in range(TRIES):
            for constraint in direct:
                constraint.repair(rows, fixed, rng)
            broken = list(self._broken(rows, taken).values())
            again = np.flatnonzero(np.any([*broken, self._outside(rows, fixed)], axis=0))
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

    def _broken(self, rows: pd.DataFrame, taken: "Taken") -> dict[str, np.ndarray]:
        """Of each constraint the rows (N,) bool that break it."""
        return {c.name: c.broken(rows) | taken.holds(rows, c) for c in self.constraints}

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

    def _refuse(self, rows: pd.DataFrame, given: GivenRows, taken: "Taken") -> None:
        """Raises ValueError with the constraints that still do not hold."""
        broken = {name: int(bad.sum()) for name, bad in self._broken(rows, taken).items()}
        if told := ", ".join(f"{name}: {count} rows" for name, count in broken.items() if count):
            columns = np.array(given.stored.columns)[given.known.any(axis=0)]
            ends = ", or the keys that a unique one may draw run out" if "unique" in told else ""
            raise ValueError(
                f"these constraints cannot hold ({told}); they contradict each other or what is "
                f"given ({', '.join(columns) or 'nothing'}){ends}"
            )


def regrouped(parts: Iterable[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    """The rows of `parts` in parts of `rows`, the last one of the rest."""
    held: list[pd.DataFrame] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count < rows:
            continue
        whole = pd.concat(held, ignore_index=True)
        last = count - count % rows
        for start in range(0, last, rows):
            yield whole.iloc[start : start + rows].reset_index(drop=True)
        held, count = [whole.iloc[last:]], count - last
    if count:
        yield pd.concat(held, ignore_index=True)


def _keys(rows: pd.DataFrame, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The rows without a missing cell in these columns, (N,) bool, and their hashes."""
    cells = rows[names]
    known = cells.notna().all(axis=1).to_numpy()
    cells = cells[known]
    plain = {n: c if c.dtype.kind == "O" else c + 0.0 for n, c in cells.items()}  # -0 is 0
    return known, pd.util.hash_pandas_object(pd.DataFrame(plain), index=False).to_numpy()


def _put(rows: pd.DataFrame, at: np.ndarray, values: pd.DataFrame) -> None:
    for name in rows.columns:
        cells = rows[name].to_numpy().copy()
        cells[at] = values[name].to_numpy()
        rows[name] = cells
