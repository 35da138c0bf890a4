"""A report generator from scratch."""

import numpy as np
import pytest

from medcodi.metrics.networks.report_writer import ReportWriter

TEXTS = ("Opacity on the left.", "Opacity on the right. The heart is large.")


def images_of(sides: np.ndarray) -> np.ndarray:
    """Bright squares on the left (0) or the right (1)."""
    images = np.random.default_rng(0).random((len(sides), 16, 16)).astype(np.float32) * 0.3
    for image, side in zip(images, sides, strict=True):
        image[4:12, 9 * side : 9 * side + 6] += 0.6
    return images


def test_it_writes_what_it_sees():
    sides = np.random.default_rng(1).integers(2, size=32)
    writer = ReportWriter().fit(images_of(sides), [TEXTS[side] for side in sides], num_steps=80)
    others = 1 - sides[:12]
    assert writer.write(images_of(others)) == [TEXTS[side] for side in others]


def test_the_same_seed_writes_the_same():
    sides = np.arange(16) % 2
    images, texts = images_of(sides), [TEXTS[side] for side in sides]
    first, again = (ReportWriter(3).fit(images, texts, 4).write(images) for _ in range(2))
    assert first == again


def test_too_few_pairs_are_refused():
    with pytest.raises(ValueError, match="expected 8 pairs of image and report or more, got 3"):
        ReportWriter().fit(images_of(np.arange(3) % 2), TEXTS[:1] * 3)
