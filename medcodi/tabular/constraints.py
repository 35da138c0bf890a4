"""What holds in every row: checks, and repairs of the cells that are not given.

    less_equal: [a, b]                       a <= b
    only_if: {column: b, when: {a: ["x"]}}   b has a value only where a is one of these
    combinations: [a, b]                     a and b only as they occur together in the data
    sum: {total: t, parts: [a, b]}           t = a + b
    positive: [a]                            a > 0
    unique: [a, b]                           no two rows agree in a and b

A missing cell breaks nothing; of combinations it is a value like any other. Rows are frames of
stored values (days for dates), missing NaN.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from medcodi.config_io import unknown_key
from medcodi.data.column import Column

KINDS = ("less_equal", "only_if", "combinations", "sum", "positive", "unique")
TOLERANCE = 1e-9
OF_NUMBERS, OF_SEVERAL = ("less_equal", "sum", "positive"), ("less_equal", "combinations", "sum")


@dataclass
class Constraint:
    """One constraint; `observed` holds the combinations of the data. `name` is how it is told."""

    kind: str
    columns: list[str]
    when: dict[str, list[Any]]
    observed: list[list[Any]]

    @property
    def name(self) -> str:
        told = ", ".join(self.columns)
        return f"{self.kind} ({told}{f' when {self.when}' if self.when else ''})"

    def broken(self, frame: pd.DataFrame) -> np.ndarray:
        """(N,) bool: the rows that break it."""
        cells = frame[self.columns]
        known = cells.notna().all(axis=1).to_numpy()
        if self.kind == "less_equal":
            numbers = cells.to_numpy(float)
            return known & (numbers[:, :-1] > numbers[:, 1:] + TOLERANCE).any(axis=1)
        if self.kind == "positive":
            return (cells.to_numpy(float) <= 0).any(axis=1)
        if self.kind == "sum":
            numbers = cells.to_numpy(float)
            scale = np.maximum(1, np.abs(numbers).max(axis=1, initial=0))
            return known & (np.abs(numbers[:, 0] - numbers[:, 1:].sum(axis=1)) > 1e-6 * scale)
        if self.kind == "only_if":
            return ~self._holds(frame) & cells[self.columns[0]].notna().to_numpy()
        if self.kind == "unique":
            return known & cells.duplicated().to_numpy()
        pairs = set(map(tuple, self.observed))
        rows = cells.astype(object).where(cells.notna(), None).itertuples(index=False, name=None)
        return np.array([tuple(row) not in pairs for row in rows], bool)

    def repair(self, frame: pd.DataFrame, given: pd.DataFrame, rng: np.random.Generator) -> None:
        """Change cells of broken rows in place, those that are not `given` (N, F) bool."""
        broken = np.flatnonzero(self.broken(frame))
        if not len(broken):
            return
        free = {name: broken[~given[name].to_numpy()[broken]] for name in self.columns}
        at = frame.columns.get_loc
        if self.kind == "only_if":
            frame.iloc[free[self.columns[0]], at(self.columns[0])] = np.nan
        elif self.kind == "sum":
            self._balance(frame, free)
        elif self.kind == "less_equal":
            pairs = list(itertools.pairwise(self.columns))
            for low, high in pairs:  # up to what is below, then down to what is given above
                rows = free[high]
                frame.iloc[rows, at(high)] = frame[[low, high]].to_numpy(float)[rows].max(axis=1)
            for low, high in reversed(pairs):
                rows = free[low]
                frame.iloc[rows, at(low)] = frame[[low, high]].to_numpy(float)[rows].min(axis=1)
        elif self.kind == "combinations":
            self._recombine(frame, given, broken, rng)

    def _holds(self, frame: pd.DataFrame) -> np.ndarray:
        held = np.ones(len(frame), bool)
        for name, values in self.when.items():
            held &= frame[name].isin(values).to_numpy()
        return held

    def _balance(self, frame: pd.DataFrame, free: dict[str, np.ndarray]) -> None:
        """The total follows its parts, or, where it is given, the last free part follows it."""
        total, *parts = self.columns
        at = frame.columns.get_loc
        sums = frame[parts].sum(axis=1).to_numpy(float)
        frame.iloc[free[total], at(total)] = sums[free[total]]
        done = set(free[total].tolist())
        for part in reversed(parts):
            rows = np.array([row for row in free[part] if row not in done], int)
            rest = frame[total].to_numpy(float) - (sums - frame[part].to_numpy(float))
            frame.iloc[rows, at(part)] = rest[rows]
            done |= set(rows.tolist())

    def _recombine(
        self, frame: pd.DataFrame, given: pd.DataFrame, rows: np.ndarray, rng: np.random.Generator
    ) -> None:
        """An observed combination that agrees with what is given in the row."""
        observed = pd.DataFrame(self.observed, columns=self.columns)
        for row in rows:
            fixed = [n for n in self.columns if given[n].iloc[row] and pd.notna(frame[n].iloc[row])]
            fits = np.ones(len(observed), bool)
            for name in fixed:
                fits &= (observed[name] == frame[name].iloc[row]).to_numpy()
            choices = np.flatnonzero(fits)
            if len(choices):
                chosen = observed.iloc[rng.choice(choices)]
                for name in set(self.columns) - set(fixed):
                    value = chosen[name]
                    frame.iloc[row, frame.columns.get_loc(name)] = (
                        np.nan if value is None else value
                    )


def build_constraints(
    given: Sequence[dict[str, Any]], frame: pd.DataFrame, columns: Mapping[str, Column]
) -> list[Constraint]:
    """Constraints from dicts as in YAML, with the combinations of `frame`, the stored values of
    these `columns`. Raises ValueError for an unknown kind, column or category, for too few columns,
    and for a text where a number is needed."""
    return [_build(entry, frame, columns) for entry in given]


def _build(entry: dict[str, Any], frame: pd.DataFrame, known: Mapping[str, Column]) -> Constraint:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ValueError(f"a constraint is one of {KINDS} with its columns, got {entry!r}")
    ((kind, value),) = entry.items()
    if kind not in KINDS:
        raise unknown_key(str(kind), KINDS, "the constraints")
    columns, when = _named(kind, value)
    for name in (*columns, *when):
        if name not in known:
            raise unknown_key(name, known, f"the columns of the constraint {kind}")
    if kind in OF_SEVERAL and len(columns) < 2:
        raise ValueError(f"constraint {kind} needs two columns or more, got {columns}")
    for name in columns if kind in OF_NUMBERS else ():
        if known[name].is_discrete:
            raise ValueError(f"constraint {kind}: column {name!r} holds no numbers")
    for name, values in when.items():
        try:
            when[name] = [known[name].read(one) for one in values]
        except ValueError as error:
            raise ValueError(f"constraint {kind}, when {name!r}: {error}") from None
    observed: list[list[Any]] = []
    if kind == "combinations":
        cells = frame[columns].drop_duplicates()
        observed = cells.astype(object).where(cells.notna(), None).to_numpy().tolist()
    return Constraint(kind, columns, when, observed)


def _named(kind: str, value: Any) -> tuple[list[str], dict[str, list[Any]]]:
    """The columns that a constraint names, and its condition. ValueError for another form."""
    when: dict[str, list[Any]] = {}
    if kind in ("only_if", "sum"):
        wanted = {"column", "when"} if kind == "only_if" else {"total", "parts"}
        if not isinstance(value, dict) or set(value) != wanted:
            raise ValueError(f"{kind} needs the keys {sorted(wanted)}, got {value!r}")
        if kind == "sum":
            value = [value["total"], *_listed(value["parts"])]
        elif isinstance(value["when"], dict) and value["when"]:
            when = {name: _listed(values) for name, values in value["when"].items()}
            value = value["column"]
        else:
            raise ValueError(f"only_if needs columns with their values as `when`, got {value!r}")
    columns = _listed(value)
    if not columns or not all(isinstance(name, str) for name in (*columns, *when)):
        raise ValueError(f"constraint {kind} needs names of columns, got {value!r}")
    return columns, when


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
