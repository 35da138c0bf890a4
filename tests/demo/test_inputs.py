"""What was painted over a picture becomes a mask of its size."""

import numpy as np
import pytest

pytest.importorskip("gradio")
from medcodi.demo.inputs import painted_mask


def test_a_painted_half():
    layer = np.zeros((512, 512, 4), np.uint8)
    layer[:, :256] = 255
    mask = painted_mask({"layers": [layer]}, np.zeros((16, 16)))
    assert mask.dtype == bool and mask[:, :8].all() and not mask[:, 8:].any()


@pytest.mark.parametrize(
    "painted", [None, {"layers": []}, {"layers": [np.zeros((8, 8, 4), np.uint8)]}]
)
def test_nothing_painted(painted):
    assert painted_mask(painted, np.zeros((16, 16))) is None
