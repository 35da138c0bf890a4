"""Rows as vectors and back."""

import numpy as np
import pandas as pd
import torch

from medcodi.baselines.row_codes import RowCodes, num_steps
from medcodi.data.table import Column, TableSchema

SCHEMA = TableSchema(
    [
        Column("s", "categorical", ["a", "b", "c"]),
        Column("n", "integer"),
        Column("x", "continuous"),
    ]
)


def test_what_is_encoded_comes_back():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "s": rng.choice(["a", "(missing)", "c"], 200).astype(object),
            "n": rng.integers(0, 30, 200).astype(float),
            "x": rng.lognormal(0, 2, 200).round(2),
        }
    )
    codes = RowCodes.fit(rows, SCHEMA, ["s"])
    vectors = codes.encode(rows)
    assert vectors.shape == (200, 2 + 3) and codes.sizes == [3]
    assert vectors[:, 2:].sum(dim=1).eq(1).all()
    again = codes.decode(vectors)[["s", "n", "x"]]
    assert again[["s", "n"]].equals(rows[["s", "n"]])
    assert np.allclose(again["x"], rows["x"], rtol=1e-3, atol=0.011)
    beyond = codes.decode(torch.full((1, 5), 99.0))
    assert beyond["x"][0] == rows["x"].max() and beyond["n"][0] == rows["n"].max()


def test_rows_of_categories_alone():
    rows = pd.DataFrame({"s": ["a", "b", "a"]})
    codes = RowCodes.fit(rows, TableSchema(SCHEMA.columns[:1]), ["s"])
    assert codes.decode(codes.encode(rows)).equals(rows)


def test_a_small_table_has_steps_enough():
    assert num_steps(300, 218, 256) == 3000 and num_steps(300, 5000, 128) == 300 * 39
