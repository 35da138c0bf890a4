"""p(column | columns before it, given ones after it): relations are learnt both ways, what is given
stays, and columns without a relation keep no small leaf."""

import numpy as np
import pytest

from medcodi.data.column import Column
from medcodi.tabular.forest import Forest, ForestConfig
from medcodi.tabular.states import ColumnStates


def columns_of(*sizes):
    return [
        ColumnStates(Column(f"c{j}", "categorical", [str(i) for i in range(n)]), list(range(n)))
        for j, n in enumerate(sizes)
    ]


def filled(forest, table, known, seed=0, allowed=True):
    allowed = np.full(table.shape[1], allowed)
    return forest.sample(table, known, allowed, np.random.default_rng(seed))


def test_a_relation_is_learnt_in_both_directions():
    rng = np.random.default_rng(0)
    first = rng.integers(1, 5, 800)
    noise = rng.integers(1, 4, 800)
    columns = columns_of(4, 3, 4)
    forest = Forest.fit(columns, np.stack([first, noise, 5 - first], 1), ForestConfig())
    for given in (0, 2):
        known = np.zeros((500, 3), bool)
        known[:, given] = True
        table = np.where(known, rng.integers(1, 5, (500, 3)), 0)
        rows = filled(forest, table, known)
        assert np.array_equal(rows[:, given], table[:, given])
        assert (rows[:, 0] + rows[:, 2] == 5).mean() > 0.97
    free = filled(forest, np.zeros((2000, 3), int), np.zeros((2000, 3), bool))
    assert (free[:, 0] + free[:, 2] == 5).mean() > 0.99
    for j in range(3):
        shares = np.bincount(free[:, j])[1:] / 2000
        assert np.abs(shares - 1 / len(shares)).max() < 0.06


def test_columns_without_a_relation_keep_no_small_leaf():
    table = np.random.default_rng(0).integers(1, 5, (600, 4))
    forest = Forest.fit(columns_of(4, 4, 4, 4), table, ForestConfig())
    leaves = [(tree.left < 0).sum() for trees in forest.ordered for tree in trees]
    assert np.mean(leaves) < 2


def test_missing_is_drawn_only_where_it_may_be():
    states = np.random.default_rng(0).integers(0, 3, (400, 2))
    states[states[:, 0] == 1, 1] = 0  # a leaf without a known state
    forest = Forest.fit(columns_of(2, 2), states, ForestConfig())
    nothing = np.zeros((600, 2), int), np.zeros((600, 2), bool)
    rows = filled(forest, *nothing)
    assert (rows[rows[:, 0] == 1, 1] == 0).all()
    assert (filled(forest, *nothing, allowed=False) > 0).all()


def test_arrays_make_the_same_forest():
    columns = columns_of(3, 40)  # many categories: projected targets
    table = np.random.default_rng(0).integers(0, 4, (300, 2))
    table[:, 1] *= 10
    forest = Forest.fit(columns, table, ForestConfig(trees=2), seed=1)
    again = Forest.fit(columns, table, ForestConfig(trees=2), seed=1)
    loaded = Forest.from_arrays(columns, again.arrays())
    nothing = np.zeros((200, 2), int), np.zeros((200, 2), bool)
    assert np.array_equal(filled(forest, *nothing), filled(loaded, *nothing))
    with pytest.raises(KeyError):
        Forest.from_arrays(columns, {"ordered.0.0.left": np.zeros(1)})


@pytest.mark.parametrize(
    ("arguments", "match"), [({"trees": 0}, r"forest\.trees"), ({"share": 1.5}, r"forest\.share")]
)
def test_wrong_sizes(arguments, match):
    with pytest.raises(ValueError, match=match):
        ForestConfig(**arguments)


def test_fewer_trees_where_each_sees_many_rows():
    config = ForestConfig()
    assert (config.rows_of(1000), config.trees_of(1000)) == (700, 30)
    assert (config.rows_of(100_000), config.trees_of(100_000)) == (25_000, 12)
    assert ForestConfig(max_rows=200_000).trees_of(10**6) == 5  # of fewer no mixture is made
    assert ForestConfig(trees=2).trees_of(1000) == 2


def test_categories_have_limits_of_their_own():
    """What a split of categories must pay is not what one of numbers must."""
    rng = np.random.default_rng(0)
    first = rng.integers(1, 3, 400)
    second = np.where(rng.random(400) < 0.59, first, 3 - first)
    table = np.stack([first, second], axis=1)
    shares = {}
    for gain in (1.0, 1000.0):
        config = ForestConfig(trees=5, discrete_gain=gain, min_gain=1000.0)
        forest = Forest.fit(columns_of(2, 2), table, config)
        made = filled(forest, np.zeros((4000, 2), int), np.zeros((4000, 2), bool))
        shares[gain] = (made[:, 0] == made[:, 1]).mean()
    assert shares[1.0] > 0.55 > 0.53 > shares[1000.0]
