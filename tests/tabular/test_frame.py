"""A user's frame as columns: how cells are read, and how gaps are filled in its own type."""

import numpy as np
import pandas as pd
import pytest

from medcodi.data.column import Column
from medcodi.tabular.frame import MODELLED, UserColumn, fill, texts_of


def user_column(column, **arguments):
    return UserColumn(column.name, MODELLED, "float64", column, **arguments)


def test_cells_are_read_by_the_spellings_of_the_data():
    sex = Column("sex", "categorical", ["F", "M"])
    column = user_column(sex, absent=["", "NA"], map={"w": "F", "unknown": None})
    assert column.read(["w", " M ", "NA", None, "unknown", "f"]) == [
        "F",
        "M",
        None,
        None,
        None,
        "F",
    ]
    with pytest.raises(ValueError, match="column 'sex': 'X' is not one of"):
        column.read(["X"])
    stay = user_column(Column("stay", "continuous"))
    assert stay.read([pd.Timedelta("2min"), "1.5", np.nan, pd.NA]) == [120.0, 1.5, None, None]
    assert UserColumn.from_dict(column.to_dict()).read(["w"]) == ["F"]


def test_a_cell_holds_one_value():
    with pytest.raises(ValueError, match="column 'x': a cell holds list"):
        texts_of("x", [[1, 2]])


def test_a_gap_that_stays_in_whole_numbers():
    series, gaps = pd.Series([1, 99, 3]), np.array([False, True, False])
    assert fill(series, gaps, pd.Series([7, 8, 9])).tolist() == [1, 8, 3]
    kept = fill(series, gaps, pd.Series([None] * 3))
    assert kept.dtype == "Int64" and kept.isna().tolist() == gaps.tolist()
