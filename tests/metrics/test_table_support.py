"""Support of table rows: other real rows score best, a narrow and a shifted set do not."""

import numpy as np
import pandas as pd
import pytest

from medcodi.data.table import Column, TableSchema
from medcodi.metrics.table_support import (
    alpha_precision,
    beta_recall,
    boundary_adherence,
    missing_similarity,
)

REAL, OTHER = np.random.default_rng(0).normal(size=(2, 600, 3))


def test_precision_falls_outside_of_the_real_support_and_inside_its_middle():
    assert alpha_precision(REAL, OTHER) > 0.93
    assert alpha_precision(REAL, OTHER + 3) < 0.4 and alpha_precision(REAL, OTHER * 0.2) < 0.4


def test_recall_falls_where_a_part_is_never_drawn():
    full, half = beta_recall(REAL, OTHER), beta_recall(REAL, np.abs(OTHER))
    assert half < full - 0.2 and beta_recall(REAL, REAL) > 0.95


def test_missing_cells_and_bounds():
    real = pd.DataFrame({"x": [0.0, 1.0, np.nan, 3.0], "s": ["a", None, "a", "b"]})
    made = pd.DataFrame({"x": [0.0, 5.0, 2.0, 3.0], "s": ["a", None, "a", "b"]})
    schema = TableSchema([Column("x", "continuous"), Column("s", "categorical", ["a", "b"])])
    assert missing_similarity(real, made) == pytest.approx(1 - 0.25 / 2)
    assert boundary_adherence(real, made, schema) == pytest.approx(0.75)
    assert np.isnan(boundary_adherence(real, made, TableSchema(schema.columns[1:])))
