"""Statistics: identities, against sklearn and scipy, and that an interval covers."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from medcodi.metrics import statistics


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_equal_to_the_libraries(rng):
    """Also with ties."""
    labels, scores = rng.random(80) < 0.3, rng.integers(0, 9, 80) / 8
    other = rng.random(80) < 0.4
    assert statistics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert statistics.kappa(labels, other) == pytest.approx(cohen_kappa_score(labels, other))
    assert statistics.f1(labels, other) == pytest.approx(f1_score(labels, other))
    assert statistics.pearson(scores, labels) == pytest.approx(
        stats.pearsonr(scores, labels).statistic
    )
    assert statistics.spearman(scores, labels) == pytest.approx(
        stats.spearmanr(scores, labels).statistic
    )


def test_what_cannot_be_computed_is_nan():
    ones = np.ones(5)
    for value in (
        statistics.auc(ones, np.arange(5)),
        statistics.kappa(ones, ones),
        statistics.f1(0 * ones, 0 * ones),
        statistics.pearson(ones, np.arange(5)),
        statistics.spearman([1.0, 2.0], [1.0, 2.0]),
        statistics.macro_f1(np.zeros((5, 2)), np.ones((5, 2))),
        statistics.total_variation([], ["a"]),
        statistics.bootstrap(lambda rows: 1.0, 0).value,
    ):
        assert np.isnan(value)


def test_several_figures_share_their_resamples(rng):
    values, patients = rng.normal(size=(30, 2)), np.arange(30) // 2
    several = statistics.bootstrap_each(lambda rows: values[rows].mean(axis=0), 30, patients, 50, 3)
    single = [
        statistics.bootstrap(lambda rows, k=k: values[rows, k].mean(), 30, patients, 50, 3)
        for k in range(2)
    ]
    for estimate, alone in zip(several, single, strict=True):
        assert [estimate.value, estimate.low, estimate.high] == pytest.approx(
            [alone.value, alone.low, alone.high]
        )


def test_shuffled_pairs_never_keep_their_own(rng):
    seen = []
    labels = rng.random(12) < 0.5
    figures = statistics.shuffled_each(
        lambda p: seen.append(p) or [(labels == labels[p]).mean(), np.nan], 12, 200
    )
    assert len(seen) == 11 and all((partner != np.arange(12)).all() for partner in seen)
    assert all(sorted(partner) == list(range(12)) for partner in seen)
    pairs = [
        (i, j) for i in range(12) for j in range(12) if i != j
    ]  # every other study once: exactly the mean of all pairs
    assert figures[0].value == pytest.approx(np.mean([labels[i] == labels[j] for i, j in pairs]))
    assert figures[0].low <= figures[0].value <= figures[0].high and np.isnan(figures[1].value)
    with pytest.raises(ValueError, match="two rows or more, got 1"):
        statistics.shuffled_each(lambda p: [0.0], 1)


def test_correlations_leave_missing_values_out():
    assert statistics.pearson([1, 2, 3, np.nan], [2, 4, 6, 0]) == pytest.approx(1)


def test_interval_is_seeded_and_covers_the_truth(rng):
    """95% intervals of a mean cover it in most of 60 repetitions."""
    samples = rng.normal(3, 1, (60, 40))
    estimates = [
        statistics.bootstrap(lambda rows, x=x: x[rows].mean(), 40, num_resamples=200)
        for x in samples
    ]
    assert np.mean([e.low < 3 < e.high for e in estimates]) > 0.85
    assert estimates[0] == statistics.bootstrap(
        lambda rows: samples[0][rows].mean(), 40, num_resamples=200
    )
    assert estimates[0].n == 40


def test_rows_of_a_patient_stay_together(rng):
    """Ten copies of each patient add no evidence: by patient the interval keeps its width, by row
    it shrinks."""
    x = rng.normal(0, 1, 30)
    copies, patients = np.repeat(x, 10), np.repeat(np.arange(30), 10)
    width = lambda e: e.high - e.low
    once = width(statistics.bootstrap(lambda rows: x[rows].mean(), 30))
    by_patient = width(statistics.bootstrap(lambda rows: copies[rows].mean(), 300, patients))
    by_row = width(statistics.bootstrap(lambda rows: copies[rows].mean(), 300))
    assert by_patient == pytest.approx(once, rel=0.25) and by_row < 0.5 * once
    with pytest.raises(ValueError, match="one group for each of 300 rows"):
        statistics.bootstrap(lambda rows: 0.0, 300, [1, 2])


def test_paired_difference_sees_the_same_rows(rng):
    """Two noisy copies that differ by a constant: the paired interval is that constant."""
    x = rng.normal(0, 5, 50)
    estimate = statistics.paired_difference(
        lambda r: (x[r] + 0.1).mean(), lambda r: x[r].mean(), 50
    )
    assert estimate.low == pytest.approx(0.1) and estimate.high == pytest.approx(0.1)


def test_interval_without_evidence_is_nan():
    labels = np.array([1, 0, 0, 0, 0, 0, 0, 0])
    estimate = statistics.bootstrap(lambda rows: np.nan if labels[rows].sum() < 4 else 1.0, 8)
    assert np.isnan(estimate.low) and np.isnan(estimate.high)


def test_marginals_stand_beside_real_rows():
    real = [{"sex": "m", "rate": 10.0 + i} for i in range(20)] + [{"sex": "f", "rate": None}]
    shifted = [{"sex": "f", "rate": 100.0 + i} for i in range(20)]
    sex, rate = statistics.column_marginals(real, shifted, real)
    assert (
        sex["value"] == pytest.approx(20 / 21)
        and sex["real_vs_real"] == 0
        and sex["distance"] == "total variation"
    )
    assert rate["value"] == 1 and rate["real_vs_real"] == 0 and rate["n"] == [20, 20, 20]
    assert rate["real"]["mean"] == pytest.approx(19.5)
