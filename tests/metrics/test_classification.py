"""AUC and F1 with masks."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from medcodi.metrics.classification import auc_scores, best_thresholds, f1_scores

RNG = np.random.default_rng(0)
LABELS = (RNG.random((200, 3)) < [0.5, 0.3, 0.1]).astype(float)
SCORES = 0.5 * LABELS + RNG.random((200, 3))


def test_scores_agree_with_sklearn():
    values = auc_scores(LABELS, SCORES)
    assert values[:3] == pytest.approx(
        [roc_auc_score(LABELS[:, k], SCORES[:, k]) for k in range(3)]
    )
    assert values[3:] == pytest.approx(
        [roc_auc_score(LABELS, SCORES, average=a) for a in ("micro", "macro", "weighted")]
    )
    read = SCORES > 0.7
    values = f1_scores(LABELS, read)
    assert values[3:] == pytest.approx(
        [f1_score(LABELS, read, average=a) for a in ("micro", "macro", "weighted")]
    )


def test_unknown_labels_are_left_out_and_one_class_has_no_value():
    masked = LABELS.copy()
    masked[:100, 0] = np.nan
    masked[:, 2] = 1  # one class only
    values = auc_scores(masked, SCORES)
    assert values[0] == pytest.approx(roc_auc_score(LABELS[100:, 0], SCORES[100:, 0]))
    assert np.isnan(values[2]) and values[4] == pytest.approx(values[:2].mean())
    changed = SCORES.copy()
    changed[:100, 0] = 1e6
    assert auc_scores(masked, changed) == pytest.approx(values, nan_ok=True)
    assert np.isnan(auc_scores(np.full((5, 2), np.nan), np.zeros((5, 2)))).all()
    assert np.isnan(f1_scores(np.zeros((5, 1)), np.ones((5, 1)))).all()


def test_shuffled_labels_score_chance_and_thresholds_help():
    orders = [np.random.default_rng(i).permutation(200) for i in range(20)]
    chance = np.mean([auc_scores(LABELS[order], SCORES) for order in orders], axis=0)
    assert chance[[0, 1, 2, 4]] == pytest.approx(0.5, abs=0.05)
    assert auc_scores(LABELS, SCORES)[4] > 0.8
    thresholds = best_thresholds(LABELS, SCORES)
    assert f1_scores(LABELS, thresholds <= SCORES)[4] >= f1_scores(LABELS, SCORES >= 0.5)[4]
    assert best_thresholds(np.zeros((9, 1)), SCORES[:9, :1]) == pytest.approx([0.5])
