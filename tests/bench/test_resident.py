"""The peak of a block is its own."""

import numpy as np
import pytest

from medcodi.bench.resident import CLEAR, PeakMemory


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux counts it")
def test_a_peak_is_seen_and_then_forgotten():
    with PeakMemory() as large:
        block = np.ones(2**27, np.uint8)
        del block
    with PeakMemory() as nothing:
        pass
    assert large.gib == pytest.approx(0.125, abs=0.03)
    assert nothing.gib < 0.03
