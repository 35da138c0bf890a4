"""A tree as arrays: the same leaves as scikit-learn's, fewer where a split does not pay."""

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from medcodi.tabular.tree import LeafTree


def grown(target, seen):
    return DecisionTreeRegressor(min_samples_leaf=5, random_state=0).fit(seen, target).tree_


def test_leaves_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(500, 3)).astype(np.float32)
    seen[rng.random((500, 3)) < 0.3] = np.nan
    tree = grown(np.nan_to_num(seen[:, 0], nan=3.0) + rng.normal(0, 0.1, 500), seen)
    found = LeafTree.of(tree, seen, rng.integers(0, 9, 500), min_gain=-1.0)
    theirs, ours = tree.apply(seen), found.apply(seen)
    assert (
        len(np.unique(theirs)) == len(np.unique(ours)) == len(set(zip(theirs, ours, strict=True)))
    )


def test_a_relation_keeps_its_splits_and_noise_does_not():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(500, 4)).astype(np.float32)
    states = rng.integers(1, 9, 500)
    noise = LeafTree.of(grown(rng.normal(size=500), seen), seen, states, min_gain=10.0)
    related = LeafTree.of(grown(seen[:, 1], seen), seen, states, min_gain=10.0)
    assert len(noise.left) < 20 and len(related.left) > 100


def test_states_are_drawn_at_the_shares_of_their_leaf():
    seen = np.repeat([[0.0], [1.0]], 50, axis=0).astype(np.float32)
    states = np.array([0] * 20 + [1] * 30 + [2] * 50)
    tree = LeafTree.of(grown(seen[:, 0], seen), seen, states, min_gain=10.0)
    places = (np.arange(100) % 50) / 50
    assert np.bincount(tree.draw(seen, places, may_miss=True)).tolist() == [20, 30, 50]
    assert np.bincount(tree.draw(seen, places, may_miss=False)).tolist() == [0, 50, 50]
