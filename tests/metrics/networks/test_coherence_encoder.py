"""The independent encoder of coherence."""

import numpy as np
import pytest

from medcodi.metrics.coherence import cosine, shuffled_cosine
from medcodi.metrics.networks.coherence_encoder import CoherenceEncoder

RNG = np.random.default_rng(0)


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
