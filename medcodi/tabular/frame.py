"""A user's DataFrame as columns of a schema, and back: what is modelled, what is made anew, what is
left out.

Legend: N rows.
"""

import dataclasses
import datetime
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from medcodi.config_io import unknown_key
from medcodi.data.table import Column
from medcodi.sources.finding import ColumnCorrection
from medcodi.sources.inference import Decision, infer_columns
from medcodi.sources.mapping import DATETIME, EPOCH, ColumnMapping
from medcodi.sources.reading import frame_of_texts
from medcodi.sources.tables import MISSING, refuse_ambiguous

logger = logging.getLogger(__name__)

MODELLED, CONSTANT, IDENTIFIER, EMPTY, LEFT_OUT = range(5)
TEXT = "text"  # a column of strings comes back as strings, whatever they say
PLAIN = (str, bool, int, float, np.bool_, np.number)
ROLES = {"constant": CONSTANT, "identifier": IDENTIFIER, "empty": EMPTY}


@dataclass
class UserColumn:
    """One column of the frame. `role`: modelled (by `column`), a constant `value`, an identifier
    whose numbers go on after `value`, empty, or left out. `dtype` is the type that comes back;
    `levels` are the categories of a pandas Categorical, `ordered` or not. `absent` are the texts
    that stand for no value, `map` those that stand for another."""

    name: str
    role: int
    dtype: str
    column: Column | None = None
    value: str = ""
    absent: list[str] = field(default_factory=lambda: [""])
    map: dict[str, str | None] = field(default_factory=dict)
    levels: list[Any] = field(default_factory=list)
    ordered: bool = False

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"column": None if self.column is None else self.column.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "UserColumn":
        column = None if values["column"] is None else Column(**values["column"])
        return cls(**values | {"column": column})

    def read(self, cells: Sequence[Any]) -> list[Any]:
        """Cells (N,) of a modelled column as the user writes them -> stored values, None where
        there is none. Raises ValueError with the column's name."""
        return [self._read(*pair) for pair in zip(cells, texts_of(self.name, cells), strict=True)]

    def _read(self, cell: Any, text: str) -> Any:
        if text in self.absent:
            return None
        if text in self.map:
            cell = self.map[text]
        elif isinstance(cell, datetime.timedelta):
            cell = cell.total_seconds()
        elif not isinstance(cell, (*PLAIN, datetime.date)):
            cell = text
        try:
            return None if cell is None else self.column.read(cell)
        except ValueError as error:
            raise ValueError(f"column {self.name!r}: {error}") from None

    def restore(
        self, stored: Sequence[Any], first: int = 1, may_miss: bool = False
    ) -> pd.Series | None:
        """Stored values (N,) of a modelled column -> the column of a user's frame; None where the
        column is left out. `first` is the number of the first row, for identifiers; where a cell
        `may_miss` the type is one that has missing values, whether any misses or not."""
        num = len(stored)
        if self.role == LEFT_OUT:
            return None
        if self.role == EMPTY:
            return pd.Series([None] * num, dtype=object)
        if self.role == CONSTANT:
            return _typed(pd.Series([self.value] * num, dtype=object), self.dtype)
        if self.role == IDENTIFIER:
            numbers = range(first, first + num)
            if self.value:
                return _typed(pd.Series([str(int(self.value) + n) for n in numbers]), self.dtype)
            return pd.Series([f"SYN-{n:06d}" for n in numbers], dtype=object)
        show = self.column.text if self.dtype == TEXT else self.column.show
        places, different = pd.factorize(pd.Series(stored))  # -1 is missing
        shown = np.empty(len(different) + 1, object)
        shown[:-1] = [show(value) for value in different]
        series = pd.Series(shown[places], dtype=object)
        return self._as_category(series) if self.levels else _typed(series, self.dtype, may_miss)

    def _as_category(self, series: pd.Series) -> pd.Series:
        """Values of a Categorical; numbers that are none of its levels are levels, too."""
        known = dict(zip(texts_of(self.name, self.levels), self.levels, strict=True))
        texts = texts_of(self.name, series)
        values = [known.get(*pair) for pair in zip(texts, series, strict=True)]
        new = sorted({v for v in values if v is not None and v not in self.levels})
        levels = [*self.levels, *new]
        return pd.Series(pd.Categorical(values, levels, ordered=self.ordered and not new))


def read_frame(
    frame: pd.DataFrame, corrections: dict[str, ColumnCorrection]
) -> tuple[list[UserColumn], pd.DataFrame, list[Decision]]:
    """The columns, the stored values of the modelled ones (N, F), NaN or None missing, and the
    decisions about them.

    Numbers of a numeric dtype are taken as such, with a warning where they may be more (99 for no
    value, Excel's serial days); durations are stored as seconds. Raises ValueError for no frame,
    fewer than two rows, two columns of one name, a column of texts with two readings, and an
    infinite number.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"expected a DataFrame, got {type(frame).__name__}")
    names = [str(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several columns are named {', '.join(map(repr, twice))}")
    if len(frame) < 2:
        raise ValueError(f"expected two rows or more, got {len(frame)}")
    for name in corrections:
        if name not in names:
            raise unknown_key(name, names, "the columns of the frame")
    texts = pd.DataFrame(
        {name: texts_of(name, _plain(frame.iloc[:, i])) for i, name in enumerate(names)},
        dtype=object,
    )
    texts.attrs |= {"separator": "", "stripped": {}}
    decisions = infer_columns(texts, list(MISSING), corrections)
    for i, decision in enumerate(decisions):
        if decision.ambiguous and pd.api.types.is_numeric_dtype(frame.dtypes.iloc[i]):
            told = f"taken as the numbers that they are, though {decision.ambiguous}"
            logger.warning("column %r: %s", decision.column, told)
            decision.changed.append(told)
            decision.ambiguous = ""
    refuse_ambiguous(decisions, "the frame")
    columns, stored = [], {}
    for i, decision in enumerate(decisions):
        dtype = str(frame.dtypes.iloc[i])
        if dtype in ("object", "str", "string", "boolean"):
            known = frame.iloc[:, i].dropna()
            for plain, named in ((str, TEXT), ((bool, np.bool_), "bool")):
                dtype = named if all(isinstance(v, plain) for v in known) else dtype
        cells = texts[decision.column].tolist()
        column = _as_column(decision, dtype, cells)
        if isinstance(frame.dtypes.iloc[i], pd.CategoricalDtype):
            levels = frame.dtypes.iloc[i].categories.tolist()
            plain = all(isinstance(level, PLAIN) for level in levels)
            column.levels = levels if plain else texts_of(decision.column, levels)
            column.ordered = bool(frame.dtypes.iloc[i].ordered)
        columns.append(column)
        if column.role == MODELLED:
            stored[column.name] = _stored(decision, column, cells)
    if not stored:
        raise ValueError("no column is left to be modelled")
    return columns, pd.DataFrame(stored), decisions


def fill(series: pd.Series, gaps: np.ndarray, values: pd.Series) -> pd.Series:
    """`series` (N,) with `values` (N,) in its `gaps` (N,) bool, in its type; new categories are
    added, and whole numbers with gaps that stay are pandas' Int64."""
    cells = series.astype(object).to_numpy().copy()
    cells[gaps] = values.astype(object).to_numpy()[gaps]
    whole, kind = pd.Series(cells, index=series.index), series.dtype
    if kind.kind == "O" and not isinstance(kind, pd.api.extensions.ExtensionDtype):
        return whole.infer_objects()
    if isinstance(kind, pd.CategoricalDtype):
        new = [v for v in whole.dropna().unique() if v not in kind.categories]
        kind = pd.CategoricalDtype([*kind.categories, *new], kind.ordered and not new)
    elif isinstance(kind, np.dtype) and kind.kind in "iub" and whole.isna().any():
        return whole.convert_dtypes()
    return whole.astype(kind)


def texts_of(name: str, cells: Iterable[Any]) -> list[str]:
    """Cells (N,) as texts without blanks around them, absent ones "". Raises ValueError, with the
    column's name, for a cell that holds no single value."""
    try:
        return frame_of_texts({name: cells})[name].str.strip().tolist()
    except ValueError as error:
        raise ValueError(f"column {name!r}: {error}") from None


def _plain(series: pd.Series) -> pd.Series:
    """Durations as seconds; any other column as it is."""
    return series.dt.total_seconds() if series.dtype.kind == "m" else series


def _as_column(decision: Decision, dtype: str, cells: list[str]) -> UserColumn:
    kind, absent = decision.kind, {"", *MISSING}
    known = [cell for cell in cells if cell not in absent]
    if kind == "constant" and len(known) < len(cells):  # its missing cells are modelled
        decision.mapping = ColumnMapping(
            column=decision.column, type="categorical", categories=sorted(set(known))
        )
    if decision.mapping is not None:
        if decision.mapping.type == DATETIME:  # all dates on one axis, so that they compare
            decision.mapping = dataclasses.replace(decision.mapping, origin=EPOCH)
        mapping = decision.mapping
        mapping.missing = [*mapping.missing, *MISSING]
        spellings = [text for text in ("", *mapping.missing) if mapping.is_missing(text)]
        column = mapping.schema_column
        return UserColumn(decision.column, MODELLED, dtype, column, "", spellings, mapping.map)
    value = known[0] if kind == "constant" else ""
    if kind == "identifier" and known and all(cell.lstrip("-").isdigit() for cell in known):
        value = str(max(map(int, known)))
    return UserColumn(decision.column, ROLES.get(kind, LEFT_OUT), dtype, None, value)


def _stored(decision: Decision, column: UserColumn, cells: list[str]) -> list[Any]:
    found: dict[str, Any] = {}
    for cell in set(cells):
        try:
            found[cell] = decision.mapping.parse(cell)
        except ValueError as error:
            raise ValueError(
                f"column {column.name!r}: {error}. List it under its `missing`, or mend it"
            ) from None
    return [found[cell] for cell in cells]


def _typed(series: pd.Series, dtype: str, may_miss: bool = False) -> pd.Series:
    """The column in the type that it had; whole numbers as pandas' Int64, and truths as its
    boolean, where any is missing or may be."""
    gaps = may_miss or bool(series.isna().any())
    if dtype.startswith("datetime64"):
        moments = pd.to_datetime(series, utc=True, format="ISO8601")
        zone = getattr(pd.api.types.pandas_dtype(dtype), "tz", None)
        return moments.dt.tz_convert(zone).astype(dtype)  # None: without a zone
    if dtype.startswith("timedelta64"):
        return pd.to_timedelta(pd.to_numeric(series), unit="s").astype(dtype)
    if dtype == "bool":
        flags = series.map({"True": True, "False": False, "1": True, "0": False, None: None})
        return flags.astype("boolean" if gaps else bool)
    if dtype.lower().startswith(("int", "uint")):
        numbers = pd.to_numeric(series)
        return numbers.astype("Int64" if gaps else dtype)
    if dtype.lower().startswith("float"):
        return pd.to_numeric(series).astype(dtype)
    return series
