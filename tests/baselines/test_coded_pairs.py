"""A coder's numbers beside the columns of a row: what is learned from, and what comes back."""

import numpy as np
import pandas as pd
import pytest
import torch

from medcodi.baselines.base import Records
from medcodi.baselines.coded_pairs import coded_pairs, codes_of, images_of
from medcodi.baselines.registry import SYSTEMS, build


@pytest.fixture(scope="module")
def given():
    """A coder, and images of which the first half is dark, (40, 8, 8)."""
    generator = np.random.default_rng(0)
    images = generator.uniform(0.4, 0.6, (40, 8, 8)).astype(np.float32)
    images[:20] -= 0.4
    coder = build("pca", 8, 0, SYSTEMS["pca"].settings_type(code_dim=3))
    torch.manual_seed(0)
    coder.fit(Records.of(images, np.zeros((40, 0))), num_steps=1)
    return coder.eval(), images


def test_codes_come_back_as_their_images(given):
    coder, images = given
    codes = codes_of(coder, images)
    assert codes.shape == (40, 3)
    assert np.abs(images_of(coder, codes) - images).mean() < 0.1


def test_rows_and_codes_are_learned_as_one_table(given):
    coder, images = given
    rows = pd.DataFrame({"dark": ["yes"] * 20 + ["no"] * 20}, index=np.arange(100, 140))
    seen = []

    def fit(frame, codes):
        seen.append((list(frame.columns), codes))
        return lambda count: frame.sample(count, replace=True, random_state=0)

    made, drawn = coded_pairs(coder, images, rows, fit, 30)
    names = ["code 000", "code 001", "code 002"]
    assert seen == [(["dark", *names], names)]
    assert made.shape == (30, 8, 8) and list(drawn.columns) == ["dark"] and len(drawn) == 30
    dark = (drawn["dark"] == "yes").to_numpy()
    assert made[dark].mean() < 0.2 < 0.4 < made[~dark].mean()


def test_every_image_has_a_row(given):
    coder, images = given
    with pytest.raises(ValueError, match="a row an image, got 40 images, 3 rows"):
        coded_pairs(coder, images, pd.DataFrame({"a": [1, 2, 3]}), lambda frame, codes: None, 5)
