"""One regression tree as arrays: pruned, its leaves with the states of their rows, without pickle.

Legend: N rows, F columns, M nodes.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from medcodi.tabular.states import MISSING

LEAF = -1
FLOOR = 1e-4  # a spread below this share of the parent's is none


@dataclass
class LeafTree:
    """Of each node: `feature`, `threshold`, `nan_left` (0 or 1), `left` and `right` (-1 of a leaf);
    of each leaf its states from `first` to `last` of `states`, those of missing cells before
    `known`."""

    feature: np.ndarray
    threshold: np.ndarray
    nan_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    known: np.ndarray
    last: np.ndarray
    states: np.ndarray

    @classmethod
    def of(cls, tree: Any, seen: np.ndarray, states: np.ndarray, min_gain: float) -> "LeafTree":
        """From scikit-learn's tree, the rows (N, F) that made it and their states (N,). Splits
        whose gain n log(parent's spread / children's spread) is below `min_gain` are taken back
        from below."""
        left, right = tree.children_left.copy(), tree.children_right.copy()
        spread = tree.impurity * tree.n_node_samples
        for node in range(tree.node_count - 1, -1, -1):  # children come after their parent
            a, b = left[node], right[node]
            if a == LEAF or left[a] != LEAF or left[b] != LEAF:
                continue
            rest = max(spread[a] + spread[b], FLOOR * spread[node], 1e-300)
            if tree.n_node_samples[node] * np.log(max(spread[node], 1e-300) / rest) < min_gain:
                left[node] = right[node] = LEAF
        kept = [0]
        for node in kept:  # grows while it is walked through
            kept += [left[node], right[node]] if left[node] != LEAF else []
        place = np.full(tree.node_count, LEAF)
        place[kept] = np.arange(len(kept))
        inner = left[kept] != LEAF
        empty = np.zeros(len(kept), np.int32)
        found = cls(
            feature=np.where(inner, tree.feature[kept], 0).astype(np.int32),
            threshold=np.where(inner, tree.threshold[kept], 0.0),
            nan_left=tree.missing_go_to_left[kept].astype(np.uint8),
            left=np.where(inner, place[left[kept]], LEAF).astype(np.int32),
            right=np.where(inner, place[right[kept]], LEAF).astype(np.int32),
            first=empty,
            known=empty,
            last=empty,
            states=states,
        )
        leaf = found.apply(seen)
        order = np.lexsort((states, leaf))
        nodes = np.arange(len(kept))
        found.first = np.searchsorted(leaf[order], nodes).astype(np.int32)
        found.last = np.searchsorted(leaf[order], nodes, side="right").astype(np.int32)
        missing = np.bincount(leaf[states == MISSING], minlength=len(kept))
        found.known = (found.first + missing).astype(np.int32)
        found.states = states[order].astype(np.int32)
        return found

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], prefix: str) -> "LeafTree":
        return cls(**{field.name: arrays[prefix + field.name] for field in fields(cls)})

    def apply(self, seen: np.ndarray) -> np.ndarray:
        """(N, F) float32 -> the leaf of each row (N,)."""
        node = np.zeros(len(seen), np.int32)
        rows = np.arange(len(seen))
        while len(rows):
            at = node[rows]
            inner = self.left[at] != LEAF
            rows, at = rows[inner], at[inner]
            values = seen[rows, self.feature[at]]
            goes_left = np.where(
                np.isnan(values), self.nan_left[at] == 1, values <= self.threshold[at]
            )
            node[rows] = np.where(goes_left, self.left[at], self.right[at])
        return node

    def draw(self, seen: np.ndarray, uniform: np.ndarray, may_miss: bool) -> np.ndarray:
        """(N, F) and numbers in [0, 1) -> states (N,) of rows in the same leaf. Without `may_miss`
        those that are not missing, where the leaf has any."""
        leaf = self.apply(seen)
        first, last = self.first[leaf], self.last[leaf]
        if not may_miss:
            first = np.where(self.known[leaf] < last, self.known[leaf], first)
        return self.states[first + (uniform * (last - first)).astype(np.int64)]
