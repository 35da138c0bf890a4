"""Gaussian copula of a table: each column by its own distribution, and one correlation matrix.

    z_j = Phi^-1(F_j(x_j)),   z ~ N(0, R)

A discrete state takes the part of [0, 1] that its share gives, in the order of the states
(Patki et al. 2016, The Synthetic Data Vault). Legend: N rows, F columns.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from medcodi.tabular.states import ColumnStates

EDGE = 1e-6  # how near to 0 and 1 a place may be


@dataclass
class GaussianCopula:
    """`bounds`: of each column the ends of its states' parts of [0, 1]; `correlation` (F, F)."""

    states: list[ColumnStates]
    bounds: list[np.ndarray]
    correlation: np.ndarray

    @classmethod
    def fit(cls, states: list[ColumnStates], table: np.ndarray, seed: int = 0) -> "GaussianCopula":
        """From the states (N, F) of the rows."""
        rng = np.random.default_rng(seed)
        bounds, scores = [], []
        for column, cells in zip(states, table.T, strict=True):
            shares = np.bincount(cells, minlength=column.size) / len(cells)
            ends = np.concatenate([[0.0], shares.cumsum()])
            places = ends[cells] + rng.random(len(cells)) * shares[cells]
            bounds.append(ends)
            scores.append(norm.ppf(places.clip(EDGE, 1 - EDGE)))
        return cls(states, bounds, np.atleast_2d(np.corrcoef(scores)))

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Raw values (n, F), NaN missing."""
        rng = np.random.default_rng(seed)
        zeros = np.zeros(len(self.states))
        scores = rng.multivariate_normal(zeros, self.correlation, n, method="eigh")
        columns = []
        for column, ends, places in zip(self.states, self.bounds, norm.cdf(scores).T, strict=True):
            cells = (np.searchsorted(ends, places, side="right") - 1).clip(0, column.size - 1)
            width = np.maximum(ends[cells + 1] - ends[cells], EDGE)
            inside = ((places - ends[cells]) / width).clip(0, 1 - EDGE)
            columns.append(column.decode(cells, inside))
        return np.stack(columns, axis=1)
