"""TabularSynthesizer: a table alone, without a shared space or other modalities.

The reader, the schema and the notations are those of `prepare table` and of the kind of modality
that holds table rows, so that values come back in the form and the type of the input.
"""

import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from medcodi.config_io import build_dataclass, unknown_key
from medcodi.files import staged
from medcodi.sources.finding import ColumnCorrection
from medcodi.tabular.constraints import Constraint, build_constraints
from medcodi.tabular.forest import Forest, ForestConfig
from medcodi.tabular.frame import MODELLED, UserColumn, fill, read_frame
from medcodi.tabular.sampling import CHUNK, GivenRows, RowSampler, regrouped
from medcodi.tabular.states import MISSING, ColumnStates

logger = logging.getLogger(__name__)

ON_BROKEN = ("refuse", "drop", "repair")
VERSION = 3


class TabularSynthesizer:
    """fit(frame), sample(n), sample(n, given=...), sample_batches, impute(frame), save, load.

    Args:
        columns: corrections of columns, as under `columns:` of `medcodi prepare table`.
        constraints: what holds in every row (medcodi.tabular.constraints), one dict each.
        on_broken: what is done with rows of the data that break a constraint: refuse, drop, repair.
        forest: sizes and pruning of the trees (ForestConfig), as a dict or as it is.
        progress: whether bars are shown.

    Raises ValueError for an unknown key or choice.
    """

    def __init__(
        self,
        columns: Mapping[str, Any] | None = None,
        constraints: Sequence[dict[str, Any]] = (),
        on_broken: str = "refuse",
        forest: ForestConfig | dict[str, Any] | None = None,
        progress: bool = True,
    ) -> None:
        if on_broken not in ON_BROKEN:
            raise unknown_key(on_broken, ON_BROKEN, "on_broken")
        self.corrections = {
            name: build_dataclass(ColumnCorrection, rules, f"columns.{name}")
            for name, rules in (columns or {}).items()
        }
        self.given_constraints, self.on_broken = list(constraints), on_broken
        if not isinstance(forest, ForestConfig):
            forest = build_dataclass(ForestConfig, forest, "forest")
        self.config, self.progress = forest, progress
        self.report: dict[str, Any] = {}
        self.columns: list[UserColumn] = []
        self.states: list[ColumnStates] = []
        self.may_miss = np.zeros(0, bool)
        self.constraints: list[Constraint] = []
        self.forest: Forest | None = None

    def fit(self, frame: pd.DataFrame, seed: int = 0) -> "TabularSynthesizer":
        """Learn the table. `report` then tells what each column is taken for and how many rows
        break a constraint. Raises ValueError for a frame that cannot be read without a guess, and
        for rows that break a constraint where `on_broken` is refuse."""
        self.forest = None
        self.columns, stored, decisions = read_frame(frame, self.corrections)
        self.report = {"columns": {d.column: d.told() for d in decisions}}
        modelled = [c for c in self.columns if c.role == MODELLED]
        known = {c.name: c.column for c in modelled}
        self.constraints = build_constraints(self.given_constraints, stored, known)
        stored = self._lawful(stored, np.random.default_rng(seed))
        self.states, table = [], []
        for user in modelled:
            raw = _raw(user, stored[user.name])
            if np.isnan(raw).all():
                raise ValueError(
                    f"column {user.name!r} has no value in the rows that keep the constraints"
                )
            if not user.column.is_discrete:
                user.column.fit(raw[~np.isnan(raw)])
            self.states.append(ColumnStates.fit(user.column, raw))
            table.append(self.states[-1].encode(raw))
        states = np.stack(table, axis=1)  # (N, F)
        self.may_miss = (states == MISSING).any(axis=0)
        self.forest = Forest.fit(self.states, states, self.config, seed, self.progress)
        return self

    def sample(
        self,
        n: int | None = None,
        given: Mapping[str, Any] | pd.DataFrame | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """`n` new rows. `given`: values of some columns, one for all rows (a dict) or one a row (a
        frame, whose length is n then); they are kept to the value. Missing values in it are
        generated.

        Raises ValueError for an unknown column, a category that the data did not have, and given
        values that break a constraint.
        """
        n, rows = self._asked(n, given)
        sampler = self._sampler(self.may_miss)
        return self._restored(sampler.complete(rows, seed, n), self.may_miss)

    def sample_batches(
        self,
        n: int | None = None,
        given: Mapping[str, Any] | pd.DataFrame | None = None,
        seed: int = 0,
        rows: int = CHUNK,
    ) -> Iterator[pd.DataFrame]:
        """The rows of `sample`, to the cell, as frames of `rows` rows, the last one of the rest:
        memory holds a frame, whatever `n` is, and 8 bytes a row of each `unique` constraint.

        Columns have the same type in each frame; only a Categorical of more than a hundred numbers
        may gain levels. Raises ValueError as `sample`: at the call, and with the frame in which a
        constraint cannot hold.
        """
        if rows < 1:
            raise ValueError(f"rows must be at least 1, got {rows}")
        n, wanted = self._asked(n, given)
        chunks = self._sampler(self.may_miss).chunks(wanted, seed, n)
        starts = itertools.count(1, rows)
        parts = zip(regrouped(chunks, rows), starts, strict=False)
        return (self._restored(part, self.may_miss, first) for part, first in parts)

    def impute(self, frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """`frame` with its missing cells drawn given the others; what is there is not touched.
        Cells that an `only_if` forbids stay missing, and so do columns that are not modelled.

        Raises ValueError for an unknown column, a category that the data did not have, and values
        that break a constraint.
        """
        self._check_fitted()
        left_out = {column.name for column in self.columns if column.role != MODELLED}
        names = [name for name in frame.columns if str(name) not in left_out]
        given = self._given(frame[names].reset_index(drop=True))
        never = np.zeros(len(self.states), bool)
        filled = self._restored(self._sampler(never).complete(given, seed), never)
        known = dict(zip(given.stored.columns, given.known.T, strict=True))
        result = frame.copy()
        for name in names:
            gaps = ~known[str(name)]
            if gaps.any():
                result[name] = fill(frame[name], gaps, filled[str(name)])
        return result

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write config.json and forest.safetensors."""
        self._check_fitted()
        config = {
            "version": VERSION,
            "forest": asdict(self.config),
            "columns": [column.to_dict() for column in self.columns],
            "states": [column.to_dict() for column in self.states],
            "may_miss": self.may_miss.tolist(),
            "constraints": [asdict(constraint) for constraint in self.constraints],
            "report": self.report,
        }
        with staged(folder, overwrite) as partial:
            text = json.dumps(config, indent=1, ensure_ascii=False)
            (partial / "config.json").write_text(text, encoding="utf-8")
            save_file(self.forest.arrays(), str(partial / "forest.safetensors"))

    @classmethod
    def load(cls, folder: str | Path, progress: bool = True) -> "TabularSynthesizer":
        """Raises FileNotFoundError for a folder without files, ValueError for another format."""
        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            if config["version"] != VERSION:
                raise ValueError(f"format version {config['version']}, expected {VERSION}")
            loaded = cls(forest=config["forest"], progress=progress)
            loaded.columns = [UserColumn.from_dict(values) for values in config["columns"]]
            loaded.states = [ColumnStates.from_dict(values) for values in config["states"]]
            loaded.may_miss = np.array(config["may_miss"], bool)
            loaded.constraints = [Constraint(**values) for values in config["constraints"]]
            loaded.report = config["report"]
            arrays = load_file(str(folder / "forest.safetensors"))
            loaded.forest = Forest.from_arrays(loaded.states, arrays)
        except (KeyError, TypeError, ValueError, SafetensorError) as error:
            raise ValueError(f"{folder} is no saved TabularSynthesizer: {error}") from None
        return loaded

    def _check_fitted(self) -> None:
        if self.forest is None:
            raise ValueError("the synthesizer is not fitted: call fit first, or load")

    def _lawful(self, stored: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        """The rows of the data that keep the constraints, as `on_broken` says."""
        broken = {c.name: c.broken(stored) for c in self.constraints}
        counts = {name: int(rows.sum()) for name, rows in broken.items() if rows.any()}
        self.report["rows that break a constraint"] = counts
        if not counts:
            return stored
        told = ", ".join(f"{name}: {count}" for name, count in counts.items())
        bad = np.any(list(broken.values()), axis=0)
        if bad.all():
            raise ValueError(
                f"no row keeps all constraints, they contradict each other or the data ({told})"
            )
        if self.on_broken == "refuse":
            raise ValueError(
                f"of {len(stored)} rows some break a constraint ({told}): mend them, or set "
                "on_broken to drop or repair"
            )
        logger.warning("rows that break a constraint, %s: %s", self.on_broken, told)
        if self.on_broken == "repair":
            stored = stored.copy()
            nothing = pd.DataFrame(False, index=stored.index, columns=stored.columns)
            for constraint in self.constraints:
                constraint.repair(stored, nothing, rng)
            bad = np.any([c.broken(stored) for c in self.constraints], axis=0)
            self.report["rows that could not be repaired"] = int(bad.sum())
            if bad.any():
                logger.warning("%d rows could not be repaired and are left out", bad.sum())
        return stored[~bad].reset_index(drop=True)

    def _sampler(self, may_miss: np.ndarray) -> RowSampler:
        return RowSampler(self.forest, self.states, self.constraints, may_miss, self.progress)

    def _asked(
        self, n: int | None, given: Mapping[str, Any] | pd.DataFrame | None
    ) -> tuple[int, GivenRows]:
        """How many rows are drawn, and what is given of them: one row for all, or one for each."""
        self._check_fitted()
        if isinstance(given, pd.DataFrame):
            if n not in (None, len(given)):
                raise ValueError(f"given has {len(given)} rows, n is {n}")
            return len(given), self._given(given.reset_index(drop=True))
        if n is None:
            raise ValueError("sample needs n, the number of rows, or a frame of given values")
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        rows = pd.DataFrame({k: [v] for k, v in (given or {}).items()}, index=[0])
        return n, self._given(rows)

    def _given(self, rows: pd.DataFrame) -> GivenRows:
        """What a user gives of each row."""
        users = {c.name: c for c in self.columns if c.role == MODELLED}
        left_out = {c.name for c in self.columns if c.role != MODELLED}
        rows = rows.rename(columns=str)
        for name in rows.columns:
            if name in left_out:
                raise ValueError(f"column {name!r} is not modelled, so that it cannot be given")
            if name not in users:
                raise unknown_key(name, users, "the given columns")
        num, stored = len(rows), {}
        states = np.zeros((num, len(users)), np.int64)
        known = np.zeros((num, len(users)), bool)
        for j, (name, user) in enumerate(users.items()):
            values = user.read(rows[name].tolist()) if name in rows else [None] * num
            stored[name] = pd.Series(values, dtype=object if user.column.is_discrete else float)
            known[:, j] = stored[name].notna()
            states[:, j] = self.states[j].encode(_raw(user, stored[name]))
        return GivenRows(pd.DataFrame(stored, index=range(num)), states, known)

    def _restored(self, stored: pd.DataFrame, may_miss: np.ndarray, first: int = 1) -> pd.DataFrame:
        """Stored values -> a user's frame, columns in the order of the data; `first` is the number
        of its first row."""
        modelled = [user.name for user in self.columns if user.role == MODELLED]
        gaps, columns = dict(zip(modelled, may_miss.tolist(), strict=True)), {}
        for user in self.columns:
            cells = stored[user.name] if user.role == MODELLED else [None] * len(stored)
            series = user.restore(cells, first, gaps.get(user.name, False))
            if series is not None:
                columns[user.name] = series
        return pd.DataFrame(columns)


def _raw(user: UserColumn, values: pd.Series) -> np.ndarray:
    """Stored values (N,) -> numbers, or the indices of categories; NaN missing."""
    if not user.column.is_discrete:
        return values.to_numpy(float)
    codes = pd.Categorical(values, user.column.categories).codes.astype(float)
    codes[codes < 0] = np.nan
    return codes
