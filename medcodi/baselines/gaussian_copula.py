"""Gaussian copula of a table: each column by its own distribution, and one correlation matrix.

    z_j = Phi^-1(F_j(x_j)),   z ~ N(0, R)

A discrete state takes the part of [0, 1] that its share gives, in the order of the states
(Patki et al. 2016, The Synthetic Data Vault). Correlations are those of the rows that have both
cells; missing cells are drawn at their share, independently. Legend: N rows, F columns.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from medcodi.tabular.states import MISSING, ColumnStates

EDGE = 1e-6  # how near to 0 and 1 a place may be


@dataclass
class GaussianCopula:
    """`bounds`: of each column the ends of its states' parts of [0, 1]; `missing` (F,) shares of
    missing cells; `correlation` (F, F)."""

    states: list[ColumnStates]
    bounds: list[np.ndarray]
    missing: np.ndarray
    correlation: np.ndarray

    @classmethod
    def fit(cls, states: list[ColumnStates], table: np.ndarray, seed: int = 0) -> "GaussianCopula":
        """From the states (N, F) of the rows."""
        rng = np.random.default_rng(seed)
        bounds, scores = [], {}
        for j, (column, cells) in enumerate(zip(states, table.T, strict=True)):
            counts = np.bincount(cells, minlength=column.size).astype(float)
            counts[MISSING] = 0
            shares = counts / max(counts.sum(), 1)
            ends = np.concatenate([[0.0], shares.cumsum()])
            places = ends[cells] + rng.random(len(cells)) * shares[cells]
            bounds.append(ends)
            scores[j] = np.where(cells == MISSING, np.nan, norm.ppf(places.clip(EDGE, 1 - EDGE)))
        correlation = pd.DataFrame(scores).corr().fillna(0).to_numpy(copy=True)
        np.fill_diagonal(correlation, 1)
        return cls(states, bounds, (table == MISSING).mean(axis=0), correlation)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Raw values (n, F), NaN missing."""
        rng = np.random.default_rng(seed)
        values, vectors = np.linalg.eigh(self.correlation)
        factor = vectors * np.sqrt(values.clip(0))  # pairwise correlations may not be positive
        factor /= np.sqrt(np.square(factor).sum(axis=1, keepdims=True))
        scores = rng.standard_normal((n, len(self.states))) @ factor.T
        columns = []
        for j, (column, ends) in enumerate(zip(self.states, self.bounds, strict=True)):
            places = norm.cdf(scores[:, j]).clip(EDGE, 1 - EDGE)
            cells = (np.searchsorted(ends, places, side="right") - 1).clip(1, column.size - 1)
            width = np.maximum(ends[cells + 1] - ends[cells], EDGE)
            inside = ((places - ends[cells]) / width).clip(0, 1 - EDGE)
            cells[rng.random(n) < self.missing[j]] = MISSING
            columns.append(column.decode(cells, inside))
        return np.stack(columns, axis=1)
