"""Attacks on table rows: copies are found, rows drawn anew are not."""

import numpy as np
import pandas as pd
import pytest

from medcodi.data.table import Column, TableSchema
from medcodi.metrics.table_privacy import (
    attribute_inference,
    nearest,
    rate_at,
    row_points,
    singling_out,
)

SCHEMA = TableSchema(
    [Column("x", "continuous"), Column("y", "continuous"), Column("s", "categorical", ["a", "b"])]
)


def rows(seed, n=300):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    sex = np.where(rng.random(n) < 0.8, np.where(x > 0, "a", "b"), "b").astype(object)
    return pd.DataFrame({"x": x, "y": rng.normal(size=n), "s": sex})


def test_a_missing_cell_lies_apart_from_a_known_one():
    frame = rows(0, 50)
    frame.loc[0, "x"] = np.nan
    points = row_points(frame, frame, SCHEMA)
    assert points.shape == (50, 7) and points[0, 1] == 1 and points[1:, 1].max() == 0
    assert nearest(points, points).max() == 0


def test_a_column_without_a_value_has_its_place():
    empty = rows(0, 50).assign(x=np.nan)
    assert np.isfinite(row_points(empty, empty, SCHEMA)).all()


def test_copies_are_singled_out_and_new_rows_are_not():
    train, holdout, new = rows(0), rows(1), rows(2)
    copied = singling_out(train, train, holdout, SCHEMA, attempts=200)
    fresh = singling_out(new, train, holdout, SCHEMA, attempts=200)
    assert copied["attack"].value == 1 and copied["control"].value < 0.6
    assert abs(fresh["attack"].value - fresh["control"].value) < 0.15
    with pytest.raises(ValueError, match="sides of equal size, got 300 and 299"):
        singling_out(new, train, holdout[1:], SCHEMA)
    with pytest.raises(ValueError, match="4 columns or more, got 3"):
        singling_out(new, train, holdout, SCHEMA, width=4)


def test_a_secret_is_read_from_copies():
    train, holdout = rows(0), rows(1)
    copied = attribute_inference(train, train, holdout, SCHEMA, ["s", "y"])
    fresh = attribute_inference(rows(2), train, holdout, SCHEMA, ["s", "y"])
    assert copied["attack"].value == 1 and copied["control"].value < 0.6
    assert abs(fresh["attack"].value - fresh["control"].value) < 0.1
    assert fresh["mode"].n == 600


def test_true_positives_at_few_false_ones():
    others = np.arange(1000.0)
    assert rate_at(others + 990.5, others, 0.01) == 1
    assert abs(rate_at(others, others, 0.01) - 0.01) < 0.002
