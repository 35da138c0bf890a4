"""p(hidden | visible) by one network: it learns a relation both ways and keeps what is given."""

import numpy as np
import torch

from medcodi.tabular.network import NetworkConfig, draw_visible, sample_states, train_network

SMALL = NetworkConfig(
    embed_dim=8, hidden_dim=32, num_layers=1, batch_size=128, steps=250, dropout=0.0, lr=5e-3
)


def test_every_size_of_visible_subset_is_drawn_alike():
    sizes = draw_visible(4000, 4, torch.Generator().manual_seed(0)).sum(1).bincount(minlength=5)
    assert sizes[4] == 0 and (sizes[:4].float() / 4000 - 0.25).abs().max() < 0.03


def test_a_relation_is_learnt_in_both_directions():
    rng = np.random.default_rng(0)
    first = rng.integers(1, 4, 600)
    states = np.stack([first, 4 - first], 1)
    network = train_network(states, [4, 4], SMALL, seed=0, progress=False)
    again = train_network(states, [4, 4], SMALL, seed=0, progress=False)
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True)
    )
    for column in (0, 1):
        known = np.zeros((300, 2), bool)
        known[:, column] = True
        given = np.zeros((300, 2), np.int64)
        given[:, column] = rng.integers(1, 4, 300)
        filled = sample_states(
            network, given, known, np.ones(2, bool), torch.Generator().manual_seed(0)
        )
        assert np.array_equal(filled[:, column], given[:, column])
        assert (filled.sum(1) == 4).mean() > 0.95
    free = sample_states(
        network,
        np.zeros((600, 2), np.int64),
        np.zeros((600, 2), bool),
        np.ones(2, bool),
        torch.Generator().manual_seed(0),
    )
    assert (free.sum(1) == 4).mean() > 0.95
    assert np.abs(np.bincount(free[:, 0], minlength=4)[1:] / 600 - 1 / 3).max() < 0.1
