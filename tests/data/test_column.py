"""Numbers of a table column as normal scores, with the decimals that the column has."""

import numpy as np
import pytest
import torch
from scipy import stats

from medcodi.data.table import Column, TableSchema

SKEWED = np.round(np.random.default_rng(0).lognormal(1.0, 1.0, 500), 1)


def fitted_column(values, kind="continuous"):
    schema = TableSchema([Column("x", kind)]).fit([{"x": float(v)} for v in values])
    return schema.columns[0], schema


def test_numbers_become_normal_scores_and_come_back():
    column, schema = fitted_column(SKEWED)
    rows = [{"x": float(v)} for v in SKEWED]
    scores = schema.encode(rows)[:, 0].numpy()
    assert abs(scores.mean()) < 0.05 and abs(scores.std() - 1) < 0.05 and scores.max() == 3.0
    back = np.array([row["x"] for row in schema.decode(torch.from_numpy(scores)[:, None])])
    assert np.abs(back - SKEWED).max() < 0.2 and column.decimals == 1
    assert (
        np.array_equal(back, back.round(1))
        and back.min() >= SKEWED.min()
        and back.max() <= SKEWED.max()
    )
    drawn = column.from_scores(np.random.default_rng(1).standard_normal(5000))
    assert stats.ks_2samp(drawn, SKEWED).statistic < 0.04


def test_shared_values_have_the_middle_score():
    column, schema = fitted_column([0] * 60 + [1] * 30 + [7] * 10, "integer")
    zero, one, seven = column.to_scores(np.array([0.0, 1.0, 7.0]))
    assert zero < one < seven and column.to_scores(np.array([4.0]))[0] > one
    table = torch.tensor([[zero], [one], [seven], [-9.0], [9.0], [float("nan")]])
    assert [row["x"] for row in schema.decode(table)] == [0, 1, 7, 0, 7, None]
    assert all(isinstance(row["x"], int) for row in schema.decode(torch.tensor([[0.2], [2.0]])))


def test_beyond_the_observed_range_scores_go_on():
    column, _ = fitted_column(SKEWED)
    high = column.to_scores(
        np.array([SKEWED.max(), SKEWED.max() + column.std, SKEWED.max() + 2 * column.std])
    )
    assert high == pytest.approx([3, 4, 5])
    assert column.to_scores(np.array([SKEWED.min() - column.std]))[0] == pytest.approx(-4)


@pytest.mark.parametrize(
    ("values", "decimals"),
    [([1.0, 2.0], 0), ([1.25, 3.5], 2), ([1 / 3, 2.0], None), ([5.0] * 4, 0)],
)
def test_decimals_are_those_of_the_values(values, decimals):
    column, schema = fitted_column(values)
    assert column.decimals == decimals
    assert schema.decode(schema.encode([{"x": values[0]}]))[0]["x"] == pytest.approx(
        values[0], abs=1e-5
    )


def test_a_schema_without_knots_is_standardised():
    """As written by earlier versions."""
    schema = TableSchema.from_dicts([{"name": "x", "type": "continuous", "mean": 10.0, "std": 2.0}])
    assert (
        schema.encode([{"x": 14.0}]).item() == 2.0
        and schema.decode(torch.tensor([[2.0]]))[0]["x"] == 14.0
    )


def test_schemas_that_say_too_little():
    with pytest.raises(ValueError, match="'s' is categorical and needs its categories"):
        Column("s", "categorical")
    with pytest.raises(ValueError, match="must be a list of columns, got"):
        TableSchema.from_dicts({"name": "x"})
