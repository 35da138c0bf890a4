"""Do synthetic table rows give away their training rows? Attacks on rows, each beside the same
attack on rows that training never saw.

Legend: S synthetic rows, N rows of one side, F columns, P numbers of a row as a point.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from medcodi.data.table import TableSchema
from medcodi.metrics.statistics import Estimate, share_of

CLOSE = 0.05  # a number is guessed where it is this near, in shares of its range


def row_points(frame: pd.DataFrame, reference: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """(N, P): numbers in standard deviations of `reference` (its mean where missing), categories
    and missing cells as 0 and 1, so that two rows that differ in a category lie sqrt(2) apart."""
    parts = []
    for column in schema.columns:
        cells = frame[column.name]
        if column.is_discrete:
            parts += [(cells == category).to_numpy(float) for category in column.categories]
        else:
            known = reference[column.name].dropna().to_numpy(float)
            middle, spread = (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)
            parts.append((cells.astype(float).fillna(middle) / spread).to_numpy(float))
        parts.append(cells.isna().to_numpy(float))
    return np.stack(parts, axis=1)


def nearest(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,) distance of each point to the nearest of the others."""
    return cKDTree(others).query(points)[0]


def rate_at(members: np.ndarray, others: np.ndarray, false_positives: float) -> float:
    """Share of members whose score lies above that of all but `false_positives` of the others
    (Carlini et al. 2022); an attack that knows nothing has this share itself."""
    return float((members > np.quantile(others, 1 - false_positives)).mean())


def singling_out(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    schema: TableSchema,
    width: int = 3,
    attempts: int = 500,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Predicates of `width` columns that hold for one synthetic row alone (Giomi et al. 2023): the
    share that holds for exactly one row of training (`attack`) and of a holdout of equal size
    (`control`). ValueError for sides of other sizes and fewer columns."""
    if len(train) != len(holdout):
        raise ValueError(f"expected sides of equal size, got {len(train)} and {len(holdout)}")
    if len(schema.columns) < width:
        raise ValueError(f"expected {width} columns or more, got {len(schema.columns)}")
    rng = np.random.default_rng(seed)
    medians = {c.name: synthetic[c.name].median() for c in schema.columns if not c.is_discrete}
    hits: dict[str, list[bool]] = {"attack": [], "control": []}
    for _ in range(4 * attempts):
        row = synthetic.iloc[rng.integers(len(synthetic))]
        names = rng.choice(schema.names, width, replace=False)
        if _matches(synthetic, row, names, medians).sum() != 1:
            continue
        for side, frame in (("attack", train), ("control", holdout)):
            hits[side].append(_matches(frame, row, names, medians).sum() == 1)
        if len(hits["attack"]) == attempts:
            break
    if not hits["attack"]:
        return {side: Estimate(np.nan, np.nan, np.nan, 0) for side in hits}
    return {side: share_of(np.array(found)) for side, found in hits.items()}


def _matches(
    frame: pd.DataFrame, row: pd.Series, names: Sequence[str], medians: dict[str, Any]
) -> np.ndarray:
    """(N,) bool: rows at the side of the median where the row's number lies or beyond, and with its
    category."""
    found = np.ones(len(frame), bool)
    for name in names:
        value, cells = row[name], frame[name]
        if pd.isna(value):
            found &= cells.isna().to_numpy()
        elif name not in medians:
            found &= (cells == value).to_numpy()
        else:
            found &= (cells >= value if value >= medians[name] else cells <= value).to_numpy()
    return found


def attribute_inference(
    synthetic: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    schema: TableSchema,
    secrets: Sequence[str],
    num_rows: int = 1000,
) -> dict[str, Estimate]:
    """A secret column is guessed from all others, as the nearest synthetic row has it: the share
    that is right in the first `num_rows` rows of training (`attack`) and of the holdout
    (`control`), over the `secrets`, beside the most frequent value (`mode`)."""
    hits: dict[str, list[np.ndarray]] = {"attack": [], "control": [], "mode": []}
    for secret in secrets:
        column = next(c for c in schema.columns if c.name == secret)
        others = TableSchema([c for c in schema.columns if c.name != secret])
        tree = cKDTree(row_points(synthetic, synthetic, others))
        typical = synthetic[secret].mode(dropna=False).iloc[0]
        for side, frame in (("attack", train), ("control", holdout)):
            rows = frame.head(num_rows)
            guess = synthetic[secret].iloc[tree.query(row_points(rows, synthetic, others))[1]]
            hits[side].append(_right(guess.to_numpy(), rows[secret].to_numpy(), column))
            if side == "attack":
                constant = np.full(len(rows), typical, dtype=guess.dtype)
                hits["mode"].append(_right(constant, rows[secret].to_numpy(), column))
    return {side: share_of(np.concatenate(found)) for side, found in hits.items()}


def _right(guess: np.ndarray, truth: np.ndarray, column: Any) -> np.ndarray:
    lost = pd.isna(guess) & pd.isna(truth)
    if column.is_discrete:
        return lost | (guess == truth)
    span = np.nanmax(truth.astype(float)) - np.nanmin(truth.astype(float))
    return lost | (np.abs(guess.astype(float) - truth.astype(float)) <= CLOSE * span)
