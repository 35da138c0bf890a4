"""The conditional distribution of every column, by regression trees whose leaves keep states.

    x_j ~ p(x_j | x_1 .. x_{j-1}, given columns after j)

Rows are drawn column by column in the order of the table, so that every column before j is known
and of those after j only what is given (sequential trees: Reiter 2005; trees on masked rows:
McCarter 2024). Two forests a column: `ordered` sees the columns before j; `given` sees the others,
too, each training row with a random subset of them, and draws the rows of which any is given.

A split is kept where it pays by n log(parent's spread / children's spread) of the rows below, so
that columns without a relation keep no small leaf: small leaves give training rows away.
Legend: N rows, F columns, S states, D numbers that a target has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.tree import DecisionTreeRegressor
from tqdm.auto import tqdm

from medcodi.tabular.states import MISSING, ColumnStates
from medcodi.tabular.tree import LeafTree

FEWEST = 5  # trees, where as many are asked for


@dataclass
class ForestConfig:
    """Of the trees of a column, in each forest. `trees` at most, fewer where they would see more
    than `rows_in_all`, but 5. Each sees a `share` of the rows without repetition, at most
    `max_rows`; `copies` of each row with other given columns. A leaf has `min_leaf` rows or more,
    and `min_gain` is what a split must pay; of a column of categories `discrete_leaf` and
    `discrete_gain`, since many weak relations are what it depends on."""

    trees: int = 30
    rows_in_all: int = 300_000
    share: float = 0.7
    max_rows: int = 25_000
    copies: int = 3
    min_leaf: int = 5
    min_gain: float = 10.0
    discrete_leaf: int = 10
    discrete_gain: float = 5.0

    def __post_init__(self) -> None:
        for name in ("trees", "rows_in_all", "max_rows", "copies", "min_leaf", "discrete_leaf"):
            if getattr(self, name) < 1:
                raise ValueError(f"forest.{name} must be 1 or more, got {getattr(self, name)}")
        if not 0 < self.share <= 1:
            raise ValueError(f"forest.share must be in (0, 1], got {self.share}")

    def rows_of(self, num_rows: int) -> int:
        """How many rows a tree sees."""
        return min(max(2, round(self.share * num_rows)), self.max_rows)

    def trees_of(self, num_rows: int) -> int:
        return min(self.trees, max(FEWEST, self.rows_in_all // self.rows_of(num_rows)))


class Forest:
    """`ordered` and `given`: of each column its trees. `known` of each column: its states that are
    not missing, for a leaf that has none."""

    def __init__(
        self,
        columns: Sequence[ColumnStates],
        ordered: list[list[LeafTree]],
        given: list[list[LeafTree]],
        known: list[np.ndarray],
    ) -> None:
        self.codes = [column.codes() for column in columns]
        self.ordered, self.given, self.known = ordered, given, known

    @classmethod
    def fit(
        cls,
        columns: Sequence[ColumnStates],
        table: np.ndarray,
        config: ForestConfig,
        seed: int = 0,
        progress: bool = False,
    ) -> "Forest":
        """From the states (N, F) of the training rows."""
        forest = cls(columns, [], [], [])
        codes = forest._coded(table)
        for j in tqdm(range(len(columns)), desc="fit", unit="column", disable=not progress):
            rng = np.random.default_rng([seed, j])
            targets = columns[j].targets(table[:, j], rng)
            limits = (config.min_leaf, config.min_gain)
            if columns[j].column.is_discrete:
                limits = (config.discrete_leaf, config.discrete_gain)
            trees = [
                [
                    _fit_tree(_visible(codes, j, given, config, rng), targets, table[:, j], *limits)
                    for _ in range(config.trees_of(len(table)))
                ]
                for given in (False, True)
            ]
            forest.ordered.append(trees[0])
            forest.given.append(trees[1])
            states = table[:, j]
            forest.known.append(np.sort(states[states != MISSING]))
        return forest

    def sample(
        self, states: np.ndarray, known: np.ndarray, allowed: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Fill the cells of states (N, F) that are not `known` (N, F). `allowed` (F,) bool: whether
        a filled cell may be missing."""
        filled = states.copy()
        codes = np.where(known, self._coded(states), np.nan).astype(np.float32)
        for j in range(states.shape[1]):
            after = known[:, j + 1 :].any(axis=1)
            for trees, rows in ((self.ordered[j], ~after), (self.given[j], after)):
                rows = np.flatnonzero(rows & ~known[:, j])
                chosen = rng.integers(0, len(trees), len(rows))
                for number, tree in enumerate(trees):
                    at = rows[chosen == number]
                    drawn = tree.draw(codes[at], rng.random(len(at)), bool(allowed[j]))
                    lost = (drawn == MISSING) & (not allowed[j]) & (len(self.known[j]) > 0)
                    if lost.any():
                        drawn[lost] = rng.choice(self.known[j], lost.sum())
                    filled[at, j] = drawn
            codes[:, j] = self.codes[j][filled[:, j]]
        return filled

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that was learnt, by name."""
        found = {f"known.{j}": states for j, states in enumerate(self.known)}
        for kind, forest in (("ordered", self.ordered), ("given", self.given)):
            for j, trees in enumerate(forest):
                for number, tree in enumerate(trees):
                    prefix = f"{kind}.{j}.{number}."
                    found |= {prefix + name: array for name, array in vars(tree).items()}
        return found

    @classmethod
    def from_arrays(
        cls, columns: Sequence[ColumnStates], arrays: dict[str, np.ndarray]
    ) -> "Forest":
        """Inverse of `arrays`. Raises KeyError where one lacks."""
        forests: dict[str, list[list[LeafTree]]] = {}
        trees = 1 + max(int(name.split(".")[2]) for name in arrays if name.startswith("ordered."))
        for kind in ("ordered", "given"):
            forests[kind] = [
                [LeafTree.from_arrays(arrays, f"{kind}.{j}.{number}.") for number in range(trees)]
                for j in range(len(columns))
            ]
        known = [arrays[f"known.{j}"] for j in range(len(columns))]
        return cls(columns, forests["ordered"], forests["given"], known)

    def _coded(self, table: np.ndarray) -> np.ndarray:
        return np.stack([code[cells] for code, cells in zip(self.codes, table.T, strict=True)], 1)


def _visible(
    codes: np.ndarray, j: int, given: bool, config: ForestConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n,) of a tree and what it sees of them, (n, F) with NaN for what it does not."""
    num_rows, num_columns = codes.shape
    rows = rng.permutation(num_rows)[: config.rows_of(num_rows)]
    if given:
        rows = np.tile(rows, config.copies)[: config.max_rows]
    seen = codes[rows].astype(np.float32)
    later = num_columns - j - 1
    if given and later:
        ranks = rng.random((len(rows), later)).argsort(axis=1)
        hidden = ranks >= rng.integers(1, later + 1, (len(rows), 1))
        seen[:, j + 1 :][hidden] = np.nan
        seen[:, j] = 0
    else:
        seen[:, j:] = 0
    return rows, seen


def _fit_tree(
    visible: tuple[np.ndarray, np.ndarray],
    targets: np.ndarray,
    states: np.ndarray,
    min_leaf: int,
    min_gain: float,
) -> LeafTree:
    rows, seen = visible
    copies = max(1, round(len(rows) / len(np.unique(rows))))
    tree = DecisionTreeRegressor(min_samples_leaf=min_leaf * copies, random_state=0)
    tree.fit(seen, targets[rows])
    return LeafTree.of(tree.tree_, seen, states[rows], min_gain * copies)
