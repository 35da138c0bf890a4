"""DeLong against brute force and bootstrap, Holm against its definition, ranks against chance."""

import numpy as np
import pytest
import torch

from medcodi.metrics import hybrid
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.metrics.networks.records import PairEncoders, predict_outcome
from medcodi.metrics.statistics import auc
from medcodi.phantom import SCHEMA, make_study

SETTINGS = FitSettings(network="tiny", num_epochs=3, batch_size=16, learning_rate=3e-3)


def two_scores(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two correlated scores, rounded so that there are ties."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    shared = rng.normal(size=n)
    return (
        labels,
        np.round(shared + labels + 0.5 * rng.normal(size=n), 1),
        np.round(shared + 0.6 * labels, 1),
    )


def by_definition(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Structural components V10 (m,) and V01 (n,) by comparing every pair."""
    x, y = scores[labels], scores[~labels]
    psi = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return psi.mean(axis=1), psi.mean(axis=0)


def test_delong_is_its_definition():
    labels, a, b = two_scores(90)
    test = hybrid.delong(labels, a, b)
    (a10, a01), (b10, b01) = by_definition(labels, a), by_definition(labels, b)
    assert test.first.value == pytest.approx(auc(labels, a), abs=1e-12)
    assert test.second.value == pytest.approx(auc(labels, b), abs=1e-12)
    variance = np.var(a10 - b10, ddof=1) / len(a10) + np.var(a01 - b01, ddof=1) / len(a01)
    half = (test.difference.high - test.difference.low) / 2
    assert half == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-6)


def test_delong_variance_is_that_of_the_bootstrap():
    labels, a, b = two_scores(400, seed=1)
    half = np.diff([(d := hybrid.delong(labels, a, b).difference).low, d.high])[0] / 2
    rng = np.random.default_rng(2)
    drawn = [rng.integers(400, size=400) for _ in range(800)]
    differences = [auc(labels[r], a[r]) - auc(labels[r], b[r]) for r in drawn]
    assert half / 1.959964 == pytest.approx(np.std(differences), rel=0.12)


def test_delong_rejects_five_percent_under_the_null():
    """Two scores of equal worth: the share of p < .05 over 400 trials lies near .05."""
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(400):
        labels = rng.random(80) < 0.4
        signal = labels + 0.0
        p = hybrid.delong(labels, signal + rng.normal(size=80), signal + rng.normal(size=80)).p
        rejected += p < 0.05
    assert 0.02 < rejected / 400 < 0.09


def test_delong_edges():
    labels, a, _ = two_scores(60)
    same = hybrid.delong(labels, a, a)
    assert same.p == 1 and same.difference.value == 0
    assert hybrid.delong(labels, a, -a).difference.value == pytest.approx(2 * auc(labels, a) - 1)
    with pytest.raises(ValueError, match="two rows or more of each class, got 0 positive"):
        hybrid.delong(np.zeros(60, bool), a, a)
    with pytest.raises(ValueError, match="without NaN"):
        hybrid.delong(labels, np.where(labels, np.nan, a), a)


def test_holm():
    assert hybrid.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert hybrid.holm([0.9, 0.5]) == [1.0, 1.0]
    assert hybrid.holm([]) == []
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        hybrid.holm([0.1, np.nan])


def test_row_features_leave_the_outcome_out():
    rows = [
        {"last_status": "deceased", "is_icu": "true", "heart_rate": None},
        {"last_status": "discharged"},
    ]
    features = hybrid.row_features(rows, SCHEMA, without=["last_status"])
    other = hybrid.row_features(
        [row | {"last_status": "discharged"} for row in rows], SCHEMA, without=["last_status"]
    )
    assert np.array_equal(features, other) and np.isfinite(features).all()
    assert not np.array_equal(features[0], features[1])
    assert not np.array_equal(
        hybrid.row_features(rows, SCHEMA), hybrid.row_features(rows[1:] * 2, SCHEMA)
    )
    with pytest.raises(ValueError, match="no such column"):
        hybrid.row_features(rows, SCHEMA, without=["status"])


def records(n: int, seed: int) -> hybrid.Records:
    """The outcome is a bright upper half and a large first feature."""
    rng = np.random.default_rng(seed)
    outcome = rng.random(n) < 0.4
    images = rng.uniform(0, 0.5, (n, 16, 16)).astype(np.float32)
    images[outcome, :8] += 0.3
    rows = rng.normal(size=(n, 3)).astype(np.float32)
    rows[:, 0] += outcome
    return hybrid.Records(images, rows, outcome)


def test_replacing_keeps_the_size_and_the_share():
    real, synthetic = records(40, 0), records(60, 1)
    for share in hybrid.RATIOS:
        mixed = hybrid.replaced(real, synthetic, share)
        kept = sum(any(np.array_equal(row, r) for r in real.rows) for row in mixed.rows)
        assert (len(mixed), kept) == (40, round(share * 40))
    assert len(real + synthetic) == 100
    with pytest.raises(ValueError, match="40 synthetic records needed, there are 5"):
        hybrid.replaced(real, synthetic.take(np.arange(5)), 0.0)
    with pytest.raises(ValueError, match="a record is an image"):
        hybrid.Records(real.images, real.rows[:3], real.outcome)


def test_the_outcome_is_learned_and_shuffled_outcomes_are_not():
    train, test = records(160, 0), records(200, 1)
    scores = predict_outcome(train, test, SETTINGS)
    assert auc(test.outcome, scores) > 0.85
    shuffled = hybrid.Records(
        train.images, train.rows, np.random.default_rng(0).permutation(train.outcome)
    )
    assert auc(test.outcome, predict_outcome(shuffled, test, SETTINGS)) < 0.72
    with pytest.raises(ValueError, match="two records or more of each outcome, got 0"):
        predict_outcome(train.take(~train.outcome), test, SETTINGS)


def test_the_same_seed_is_the_same_network_and_torch_is_left_alone():
    train, test = records(40, 0), records(20, 1)
    state = torch.random.get_rng_state()
    first, second = (predict_outcome(train, test, SETTINGS) for _ in range(2))
    assert np.array_equal(first, second) and torch.equal(state, torch.random.get_rng_state())


def test_ranks_of_shuffled_pairs_are_chance():
    train, test = records(200, 0), records(101, 1)
    settings = FitSettings(network="tiny", num_epochs=6, batch_size=32, learning_rate=3e-3)
    own = PairEncoders(settings).fit(train.images, train.rows).ranks(test.images, test.rows)
    order = np.random.default_rng(0).permutation(200)
    apart = (
        PairEncoders(settings).fit(train.images, train.rows[order]).ranks(test.images, test.rows)
    )
    assert np.median(own) < 44 and abs(np.median(apart) - 51) < 12  # standard error 3.6
    assert hybrid.wilcoxon(own, apart) < 0.05
    assert hybrid.wilcoxon(own, own) == 1
    assert hybrid.rank_summary(np.arange(1, 102))["median"] == 51
    with pytest.raises(ValueError, match="20 pairs or more"):
        PairEncoders(settings).fit(train.images[:5], train.rows[:5])
    with pytest.raises(ValueError, match="not trained"):
        PairEncoders(settings).ranks(test.images, test.rows)


def test_nan_images_are_named():
    train, test = records(40, 0), records(20, 1)
    train.images[3, 0, 0] = np.nan
    with pytest.raises(ValueError, match="training images: 1 of 40 images hold NaN"):
        predict_outcome(train, test, SETTINGS)


def test_features_of_phantom_rows():
    rows = [
        study.values["tabular"]
        for i in range(20)
        if "tabular" in (study := make_study(0, i, 32)).values
    ]
    widths = [
        len(c.categories) + 1 if c.is_discrete else 2 for c in SCHEMA.columns
    ]  # with a state "missing"
    assert hybrid.row_features(rows, SCHEMA).shape == (len(rows), sum(widths))
