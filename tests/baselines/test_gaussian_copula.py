"""The copula keeps the marginals and a linear relation."""

import numpy as np

from medcodi.baselines.gaussian_copula import GaussianCopula
from medcodi.data.column import Column
from medcodi.tabular.states import ColumnStates


def test_marginals_and_correlation():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 3000)
    y = np.where(rng.random(3000) < 0.1, np.nan, np.exp(0.8 * x + 0.6 * rng.normal(0, 1, 3000)))
    states, table = [], []
    for name, values in (("x", x), ("y", y)):
        column = Column(name, "continuous")
        column.fit(values[~np.isnan(values)])
        states.append(ColumnStates.fit(column, values))
        table.append(states[-1].encode(values))
    made = GaussianCopula.fit(states, np.stack(table, 1)).sample(3000, seed=1)
    assert abs(np.isnan(made[:, 1]).mean() - 0.1) < 0.02
    assert abs(np.median(made[:, 0]) - np.median(x)) < 0.1
    known = ~np.isnan(made[:, 1])
    assert abs(np.corrcoef(made[known, 0], np.log(made[known, 1]))[0, 1] - 0.8) < 0.08
