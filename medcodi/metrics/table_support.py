"""Where synthetic rows lie: inside the support of the real ones, over all of it, inside its bounds.

Legend: N rows, P numbers of a row as a point (`table_privacy.row_points`).
"""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from medcodi.data.table import TableSchema

LEVELS = np.linspace(0, 1, 30)


def alpha_precision(real: np.ndarray, synthetic: np.ndarray) -> float:
    """1 - 2 mean |P_a - a| over levels a, where P_a is the share of synthetic points (N, P) inside
    the ball around the real mean that holds the share a of the real ones (Alaa et al. 2022)."""
    centre = real.mean(axis=0)
    radii = np.quantile(np.linalg.norm(real - centre, axis=1), LEVELS)
    distances = np.linalg.norm(synthetic - centre, axis=1)
    shares = (distances[:, None] <= radii).mean(axis=0)
    return float(1 - 2 * np.abs(shares - LEVELS).mean())


def beta_recall(real: np.ndarray, synthetic: np.ndarray) -> float:
    """1 - 2 mean |R_b - b| over levels b, where R_b is the share of real points whose nearest
    synthetic one is as near as their nearest real one, and lies inside the ball that holds the
    share b of the synthetic ones. Other real rows reach about .5."""
    own = cKDTree(real).query(real, k=2)[0][:, 1]
    distances, places = cKDTree(synthetic).query(real)
    radii = np.linalg.norm(synthetic - synthetic.mean(axis=0), axis=1)
    covered = (distances <= own)[:, None] & (radii[places][:, None] <= np.quantile(radii, LEVELS))
    return float(1 - 2 * np.abs(covered.mean(axis=0) - LEVELS).mean())


def missing_similarity(real: pd.DataFrame, synthetic: pd.DataFrame) -> float:
    """Mean over columns of 1 - |difference of the shares of missing cells|."""
    return float(1 - (real.isna().mean() - synthetic.isna().mean()).abs().mean())


def boundary_adherence(real: pd.DataFrame, synthetic: pd.DataFrame, schema: TableSchema) -> float:
    """Mean over the columns of numbers of the share of synthetic ones inside the real range; NaN
    for a table without numbers."""
    shares = []
    for column in schema.columns:
        made = synthetic[column.name].dropna()
        if not column.is_discrete and len(made):
            known = real[column.name].dropna()
            shares.append(made.between(known.min(), known.max()).mean())
    return float(np.mean(shares)) if shares else np.nan
