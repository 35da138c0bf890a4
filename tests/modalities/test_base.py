"""What a recipe says of any modality."""

import pytest

from medcodi.modalities.base import get_kind


@pytest.mark.parametrize("interval", [[0.8, 0.1], [0.5], [-0.1, 0.5], [0.5, 1.5]])
def test_guidance_interval_that_is_none_is_refused(interval):
    with pytest.raises(
        ValueError, match=r"modalities\.frontal\.guidance_interval must be \[low, high\]"
    ):
        get_kind("image")("frontal", {"kind": "image", "guidance_interval": interval})
