"""Hamming agreement over chance."""

import numpy as np
import pytest

from medcodi.metrics.hamming import (
    agreement_difference,
    chance_hamming,
    corrected_agreement,
    hamming,
)

RNG = np.random.default_rng(0)


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
