"""What a table of the evaluation is, and the registry of all of them.

A table is one file in `tables/`:

    @register_table
    class Counts(EvaluationTable):
        id, title, needs = "T1", "Label counts", ("labels",)

        def run(self, context: EvaluationContext) -> Result: ...
"""

import dataclasses
import importlib
import math
import pkgutil
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from medcodi.config_io import unknown_key
from medcodi.evaluation.per_sample import SampleValues
from medcodi.files import jsonable
from medcodi.metrics.statistics import Estimate

if TYPE_CHECKING:
    from medcodi.evaluation.context import EvaluationContext

KINDS = ("ours", "baseline", "floor", "real", "paper")
TABLES: dict[str, type["EvaluationTable"]] = {}


@dataclass
class Row:
    """One system. `kind` is ours (what was generated), baseline (a system that does not generate:
    constant, retrieval), floor (chance, or real against real), real (real outputs, measured alike)
    or paper (a published value).

    `cells` maps a column to a number, a text, an `Estimate` (value with interval) or None (does not
    apply). `n` is what the row rests on, by default the `n` of its first estimate.
    """

    system: str
    kind: str
    cells: dict[str, Any]
    n: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"row {self.system!r}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}"
            )
        if self.n is None:
            self.n = next(
                (cell.n for cell in self.cells.values() if isinstance(cell, Estimate)), None
            )

    def value(self, column: str) -> float:
        """The number in a cell; NaN where it holds none."""
        cell = self.cells.get(column)
        cell = cell.value if isinstance(cell, Estimate) else cell
        return float(cell) if isinstance(cell, (int, float)) else math.nan


@dataclass
class Result:
    """A measured table. `columns` are the headings after the system's; `n` the studies it rests on;
    `seeds` of the samples; `figures` plain floats for programs (key -> value); `pictures` caption
    -> PNG, a path as `context.picture` gave it; `samples` are values by study, which go to a csv
    beside the tables."""

    title: str
    columns: Sequence[str]
    rows: list[Row]
    n: int
    seeds: Sequence[int]
    notes: Sequence[str] = ()
    figures: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    samples: list[SampleValues] = field(default_factory=list)

    def __post_init__(self) -> None:
        for row in self.rows:
            for column in row.cells:
                if column not in self.columns:
                    raise unknown_key(
                        column,
                        self.columns,
                        f"the columns of table {self.title!r}, row {row.system!r}",
                    )

    def to_json(self) -> dict[str, Any]:
        return jsonable(asdict(dataclasses.replace(self, samples=[])))


class EvaluationTable(ABC):
    """One table. `needs` says what it cannot do without: letters of modalities (F L T table),
    `pipeline`, `labels` (findings of the data set), `truth` (the phantom's). Where one is absent
    the table is listed as not applicable. `also` are further ids that it covers. `version` rises
    when the measurement changes: older results are run again.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("pipeline",)
    also: ClassVar[tuple[str, ...]] = ()
    version: ClassVar[int] = 1

    @abstractmethod
    def run(self, context: "EvaluationContext") -> Result:
        """Measure. ValueError with a clear message for data that cannot be measured; the other
        tables still run."""

    def reasons(self, context: "EvaluationContext") -> list[str]:
        """Why the table does not apply, one sentence each; empty when it does."""
        return context.missing(self.needs)

    def defaults(self, context: "EvaluationContext") -> dict[str, Any]:
        """The options that the table takes, with their defaults."""
        return {}

    def options(self, context: "EvaluationContext") -> dict[str, Any]:
        """What the recipe says under `evaluation.tables.ID`, over the defaults. ValueError for an
        option that the table does not take."""
        defaults, given = self.defaults(context), context.settings.tables.get(self.id) or {}
        for key in given:
            if key not in defaults:
                raise unknown_key(key, defaults, f"evaluation.tables.{self.id}")
        return defaults | given


def register_table(cls: type[EvaluationTable]) -> type[EvaluationTable]:
    """Class decorator: make a table known under its id."""
    if TABLES.get(cls.id, cls).__qualname__ != cls.__qualname__:
        raise ValueError(
            f"two tables have the id {cls.id!r}: {TABLES[cls.id].__qualname__} and "
            f"{cls.__qualname__}"
        )
    TABLES[cls.id] = cls
    return cls


def all_tables() -> dict[str, type[EvaluationTable]]:
    """Every table in `tables/` in the papers' order: T1, T2, ..., then the others."""
    package = importlib.import_module("medcodi.evaluation.tables")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return {key: TABLES[key] for key in sorted(TABLES, key=_order)}


def choose_tables(ids: Sequence[str] | None) -> dict[str, type[EvaluationTable]]:
    """The tables with these ids (also the ids in `also`), all by default. ValueError names the
    valid ids."""
    known = all_tables()
    owner = {alias.lower(): key for key, cls in known.items() for alias in (key, *cls.also)}
    chosen = set(known) if not ids else set()
    for wanted in ids or ():
        if wanted.lower() not in owner:
            raise unknown_key(
                wanted, [a for key, cls in known.items() for a in (key, *cls.also)], "the tables"
            )
        chosen.add(owner[wanted.lower()])
    return {key: cls for key, cls in known.items() if key in chosen}


def _order(key: str) -> tuple[int, int, str]:
    number = re.fullmatch(r"(T|Fig)(\d+).*", key)
    if not number:
        return 2, 0, key
    return 0, int(number[2]) * 2 - (number[1] == "Fig"), key  # figure 7 stands before table 7
