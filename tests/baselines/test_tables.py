"""Table systems: gaps go in and come back; what is not installed is named."""

import numpy as np
import pandas as pd
import pytest

from medcodi.baselines import tables
from medcodi.data.table import Column, TableSchema

SCHEMA = TableSchema([Column("x", "continuous"), Column("s", "categorical", ["a", "b"])])


def rows(n=200):
    rng = np.random.default_rng(0)
    sex = rng.choice(["a", "b"], n).astype(object)
    x = pd.Series((sex == "a") * 3 + rng.normal(size=n))
    return pd.DataFrame({"x": x.mask(rng.random(n) < 0.2), "s": sex})


def test_gaps_are_told_to_packages_that_take_none():
    frame = rows().assign(s=lambda f: f["s"].where(f.index > 9, None))
    given, discrete = tables.without_gaps(frame, SCHEMA)
    assert given.notna().all().all() and discrete == ["x missing", "s"]
    pd.testing.assert_frame_equal(tables.with_gaps(given, SCHEMA), frame)


@pytest.mark.parametrize(
    "name", ["independent", "gaussian copula", "DRAGAN", "diffusion", "ARF", "CTGAN"]
)
def test_systems_draw_rows(name):
    pytest.importorskip({"ARF": "arfpy", "CTGAN": "ctgan"}.get(name, "numpy"))
    made = tables.SYSTEMS[name](rows(), SCHEMA, 1, 0)(100)
    assert list(made) == ["x", "s"] and len(made) == 100
    assert set(made["s"]) <= {"a", "b"} and made["x"].astype(float).notna().any()
