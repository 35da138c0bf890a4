"""Cosine of pairs, and of shuffled ones."""

import numpy as np
import pytest

from medcodi.metrics.coherence import cosine, shuffled_cosine

RNG = np.random.default_rng(0)


def test_cosine_and_its_floor():
    x, y = RNG.normal(size=(300, 8)), RNG.normal(size=(300, 8))
    assert cosine(x, 3 * x) == pytest.approx(np.ones(300))
    assert abs(shuffled_cosine(x, x).value) < 0.02 and abs(cosine(x, y).mean()) < 0.08
    floor = np.mean([cosine(x, np.roll(y, k, axis=0)).mean() for k in range(1, 300)])
    assert shuffled_cosine(x, y).value == pytest.approx(floor)
    with pytest.raises(ValueError, match="two sets of vectors"):
        cosine(x, y[:, :4])
