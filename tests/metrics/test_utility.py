"""A classifier learns a bright half, not shuffled labels; protocols count; averages are
sklearn's."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from medcodi.metrics import utility
from medcodi.metrics.networks.architectures import build_network, shifted
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.metrics.networks.from_scratch import train_and_predict
from medcodi.metrics.utility import LabelledImages

SETTINGS = FitSettings(network="tiny", num_epochs=4, batch_size=32, learning_rate=3e-3)


def data(n: int, seed: int) -> LabelledImages:
    """Two findings: a bright left half, a bright right half. A few labels are unknown."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 2)) < [0.4, 0.2]).astype(float)
    images = rng.uniform(0, 0.5, (n, 16, 16)).astype(np.float32)
    images[labels[:, 0] > 0, :, :8] += 0.3
    images[labels[:, 1] > 0, :, 8:] += 0.3
    labels[rng.random((n, 2)) < 0.05] = np.nan
    return LabelledImages(images, labels)


def test_findings_are_learned_and_shuffled_labels_are_chance():
    train, test = data(200, 0), data(200, 1)
    everything = np.arange(200)
    learned = utility.scores_of(test.labels, train_and_predict(train, test.images, SETTINGS))
    assert learned["auroc macro"](everything) > 0.9 and learned["f1 macro"](everything) > 0.7
    chances = []
    for seed in range(4):  # two features only: one order may lean either way
        order = np.random.default_rng(seed).permutation(200)
        shuffled = LabelledImages(train.images, train.labels[order])
        chance = utility.scores_of(test.labels, train_and_predict(shuffled, test.images, SETTINGS))
        chances.append(chance["auroc macro"](everything))
    assert 0.3 < np.mean(chances) < 0.7
    paired = utility.paired_test(
        learned["auroc macro"], chance["auroc macro"], 200, num_resamples=100
    )
    assert paired.p < 0.05 and paired.difference.low > 0
    same = utility.paired_test(
        learned["auroc macro"], learned["auroc macro"], 200, num_resamples=100
    )
    assert same.p == 1 and same.difference.value == 0


def test_seeds_are_reproducible_and_differ():
    train, test = data(60, 0), data(20, 1)
    first = train_and_predict(train, test.images, SETTINGS, seeds=(0, 1))
    again = train_and_predict(train, test.images, SETTINGS, seeds=(0, 1))
    assert np.array_equal(first.scores, again.scores) and not np.allclose(
        first.scores[0], first.scores[1]
    )
    assert first.scores.shape == (2, 20, 2) and first.thresholds.shape == (2, 2)


def test_averages_are_those_of_sklearn():
    rng = np.random.default_rng(0)
    truth, scores = (rng.random((300, 3)) < [0.5, 0.2, 0.1]).astype(float), rng.random((300, 3))
    scores += 0.5 * truth
    figures = utility.scores_of(truth, utility.Prediction(scores[None], np.full((1, 3), 0.6)))
    rows = np.arange(300)
    for average in utility.AVERAGES:
        assert figures[f"auroc {average}"](rows) == pytest.approx(
            roc_auc_score(truth, scores, average=average)
        )
        assert figures[f"f1 {average}"](rows) == pytest.approx(
            f1_score(truth, scores >= 0.6, average=average)
        )
    assert figures["auroc 1"](rows) == pytest.approx(roc_auc_score(truth[:, 1], scores[:, 1]))


def test_masked_labels_change_nothing():
    truth = np.array([[1, np.nan], [0, 1], [1, 0], [0, np.nan]])
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]])
    for unknown in (0.0, 1.0):
        changed = np.where(np.isnan(truth), unknown, scores)
        figures = utility.scores_of(truth, utility.Prediction(changed[None], np.full((1, 2), 0.5)))
        assert {name: f(np.arange(4)) for name, f in figures.items()} == dict.fromkeys(figures, 1.0)


def test_seeds_apart_have_the_mean_of_seeds_together():
    truth, rng = data(60, 0).labels, np.random.default_rng(0)
    prediction = utility.Prediction(rng.random((3, 60, 2)), rng.random((3, 2)))
    for figure in ("auroc macro", "f1 macro"):
        apart = utility.by_seed(truth, prediction, figure)
        assert len(set(apart)) == 3
        assert np.mean(apart) == pytest.approx(
            utility.scores_of(truth, prediction)[figure](np.arange(60))
        )


def test_best_threshold():
    truth, scores = np.array([0, 0, 1, 0, 1, np.nan]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.9])
    assert utility.best_threshold(truth, scores) == 0.3  # 2 of 2 found with one false: F1 .8
    assert utility.best_threshold(np.zeros(4), scores[:4]) == 0.5


def test_class_prior_says_yes_always():
    train, test = data(100, 0), data(100, 1)
    figures = utility.scores_of(test.labels, utility.class_prior(train.labels, 100))
    rows, known = np.arange(100), ~np.isnan(test.labels[:, 0])
    prevalence = test.labels[known, 0].mean()
    assert figures["auroc macro"](rows) == 0.5 and figures["f1 0"](rows) == pytest.approx(
        2 * prevalence / (1 + prevalence)
    )


def test_balancing_brings_positives_together():
    rng = np.random.default_rng(0)
    real, pool = (rng.random((200, 3)) < [0.5, 0.2, 0.05]), (rng.random((900, 3)) < [0.3, 0.3, 0.3])
    added = utility.balancing_rows(real.astype(float), pool.astype(float))
    before, after = real.sum(axis=0), (real.sum(axis=0) + pool[added].sum(axis=0))
    assert len(set(added.tolist())) == len(added)
    assert np.ptp(after) < 0.25 * np.ptp(before)
    with pytest.raises(ValueError, match="nothing to balance"):
        utility.balancing_rows(np.zeros((4, 2)), pool.astype(float))


def test_scarcity_counts():
    assert [utility.scarcity_counts(s, 100, 100, total=100) for s in utility.SHARES] == [
        (100, 0),
        (75, 25),
        (50, 50),
        (25, 75),
        (10, 90),
        (5, 95),
    ]
    assert [utility.scarcity_counts(s, 10, 200) for s in utility.SHARES] == [
        (10, 0),
        (10, 3),
        (10, 10),
        (10, 30),
        (10, 90),
        (10, 190),
    ]
    with pytest.raises(
        ValueError, match="95% synthetic needs 10 real and 190 synthetic images, got 10 and 100"
    ):
        utility.scarcity_counts(0.95, 10, 100)


def test_shifting_moves_pixels_and_keeps_them():
    import torch

    torch.manual_seed(0)
    pixels = torch.rand(50, 1, 8, 8)
    moved = shifted(pixels, 1)
    assert torch.equal(shifted(pixels, 0), pixels) and moved.shape == pixels.shape
    padded = torch.nn.functional.pad(pixels, [1] * 4, mode="replicate")
    windows = [padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
    same = torch.stack([(w == moved).flatten(1).all(dim=1) for w in windows])
    assert same.any(dim=0).all() and (same.any(dim=1).sum() > 5)


def test_bad_input_says_what_is_wrong():
    train = data(60, 0)
    with pytest.raises(ValueError, match="10 training images or more, got 4"):
        train_and_predict(train.take(np.arange(4)), train.images, SETTINGS)
    with pytest.raises(ValueError, match="nothing to learn"):
        train_and_predict(LabelledImages(train.images, np.zeros((60, 2))), train.images, SETTINGS)
    with pytest.raises(ValueError, match="test images: 60 of 60 images hold NaN"):
        train_and_predict(train, np.full((60, 16, 16), np.nan), SETTINGS)
    with pytest.raises(ValueError, match="1, 0 or NaN"):
        LabelledImages(train.images, train.labels + 1)
    with pytest.raises(ValueError, match="expected labels"):
        LabelledImages(train.images, train.labels[:3])
    with pytest.raises(ValueError, match="no finding has 5 positive"):
        utility.measurable(np.zeros((60, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="unknown network 'resnet'"):
        build_network("resnet", 2)


@pytest.mark.slow
def test_densenet_learns_from_scratch():
    train, test = data(60, 0), data(60, 1)
    images = [np.kron(part.images, np.ones((1, 2, 2), np.float32)) for part in (train, test)]
    settings = FitSettings(network="densenet121", num_epochs=3, batch_size=16, learning_rate=1e-3)
    prediction = train_and_predict(LabelledImages(images[0], train.labels), images[1], settings)
    assert utility.scores_of(test.labels, prediction)["auroc macro"](np.arange(60)) > 0.6
