"""Regions that `medcodi bench keep` measures."""

from dataclasses import replace

import numpy as np
import pytest

from medcodi.evaluation.keep_regions import effusion_mask, eroded, seam_ratio
from medcodi.modalities.image_parts import blended
from medcodi.phantom import render, sample_patient


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_effusion_changes_its_region_alone(side):
    for index in range(6):
        dry = replace(sample_patient(3, index), **{f"effusion_{side}": 0.0})
        images = [render(p, 64)[0] for p in (dry, replace(dry, **{f"effusion_{side}": 0.6}))]
        changed = np.abs(images[1] - images[0]) > 0.02
        assert changed.any() and not (changed & ~effusion_mask(side, 64)).any()


def test_the_seam_of_a_picture_that_was_not_cut_is_one():
    rng = np.random.default_rng(0)
    images, mask = rng.random((4, 32, 32)), np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    masks = np.stack([mask] * 4)
    assert seam_ratio(images, masks) == pytest.approx(1, abs=0.1)
    smooth = np.linspace(0.2, 0.7, 32)[None, :, None] + np.zeros((4, 32, 32))
    smooth = smooth + rng.normal(0, 0.01, smooth.shape)
    lighter = smooth + 0.2
    assert seam_ratio(np.where(masks, lighter, smooth), masks) > 4
    mended = np.stack([blended(x, s, mask) for x, s in zip(lighter, smooth, strict=True)])
    assert seam_ratio(mended, masks) < 1.4
    assert np.array_equal(mended[~masks], smooth[~masks])
    assert eroded(masks, 4)[0].sum() == 8 * 8
