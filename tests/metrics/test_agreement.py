"""AUC and F1 with masks, Hamming agreement over chance, the independent coherence encoder."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from medcodi.metrics.classification import auc_scores, best_thresholds, f1_scores
from medcodi.metrics.coherence import cosine, shuffled_cosine
from medcodi.metrics.hamming import (
    agreement_difference,
    chance_hamming,
    corrected_agreement,
    hamming,
)
from medcodi.metrics.networks.coherence_encoder import CoherenceEncoder

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


def test_agreement_is_one_for_equal_zero_for_shuffled_and_zero_for_silence():
    a = RNG.random((4000, 5)) < 0.3
    assert (hamming(a, a) == 0).all() and corrected_agreement(a, a) == 1
    other = a[np.random.default_rng(1).permutation(4000)]
    assert corrected_agreement(a, other) == pytest.approx(0, abs=0.03)
    assert hamming(a, other).mean() == pytest.approx(chance_hamming(a, other), abs=0.05)
    silent = np.zeros_like(a)
    assert (
        hamming(a, silent).mean() < hamming(a, other).mean()
    )  # nearer than chance pairs, and worth nothing
    assert corrected_agreement(a, silent) == pytest.approx(0)
    assert np.isnan(corrected_agreement(silent, silent))
    gain = agreement_difference((a[:200], a[:200]), (a[:200], other[:200]), 50)
    assert gain.value == pytest.approx(1, abs=0.1) and gain.low > 0.5
    with pytest.raises(ValueError, match="two label tables"):
        hamming(a, a[:, :2])


def test_cosine_and_its_floor():
    x, y = RNG.normal(size=(300, 8)), RNG.normal(size=(300, 8))
    assert cosine(x, 3 * x) == pytest.approx(np.ones(300))
    assert abs(shuffled_cosine(x, x).value) < 0.02 and abs(cosine(x, y).mean()) < 0.08
    floor = np.mean([cosine(x, np.roll(y, k, axis=0)).mean() for k in range(1, 300)])
    assert shuffled_cosine(x, y).value == pytest.approx(floor)
    with pytest.raises(ValueError, match="two sets of vectors"):
        cosine(x, y[:, :4])


def test_the_independent_encoder_tells_pairs_from_shuffled_pairs(tmp_path):
    """Bright squares left or right, and texts that say so."""
    sides = RNG.integers(2, size=24)
    images = RNG.random((24, 16, 16)).astype(np.float32) * 0.3
    for image, side in zip(images, sides, strict=True):
        image[4:12, 9 * side : 9 * side + 6] += 0.6
    texts = [("opacity on the left", "opacity on the right")[side] for side in sides]
    encoder = CoherenceEncoder(["view"], "report").fit(
        {"view": images, "report": texts}, num_steps=60
    )
    codes = encoder.encode("view", images), encoder.encode("report", texts)
    assert cosine(*codes).mean() > shuffled_cosine(*codes).high + 0.1
    mirrored = encoder.encode("view", images[:, :, ::-1].copy())
    assert (
        cosine(mirrored, codes[1]).mean() < shuffled_cosine(*codes).value
    )  # the other side is worse than any other study
    encoder.save(tmp_path / "encoder")
    again = CoherenceEncoder.load(tmp_path / "encoder")
    assert again.encode("view", images) == pytest.approx(codes[0], abs=1e-6)
    with pytest.raises(ValueError, match="at least 8 complete training studies, got 4"):
        CoherenceEncoder(["view"], "report").fit({"view": images[:4], "report": texts[:4]})
