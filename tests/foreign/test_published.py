"""How many parameters the published code has and uses, counted from its layout at full size on the
meta device."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.foreign import layouts
from tests.paper import NEVER_RUNS, PUBLISHED_VIEW


def count(state: layouts.State) -> float:
    return sum(value.numel() for value in state.values()) / 1e6


@pytest.fixture(scope="module")
def view() -> layouts.State:
    """The U-Net of a view: Stable Diffusion 1.5, a layer over frames behind every residual block,
    and the connectors."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        widths = [320, 320, 640, 640, 1280, 1280] + [1280] * 3 + [640] * 3 + [320] * 3
        return layouts.ldm_unet(unet, video=True) | layouts.connectors(widths, 320, True, 1280)


def test_a_view_has_1773_million_parameters_and_617_never_run(view):
    """Published fault 15. The paper says 1.77 billion a view, and counts them."""
    over_frames = {
        k: v for k, v in view.items() if "frameshift" in k or "temporal" in k or ".ff.proj_" in k
    }
    connectors = {k: v for k, v in view.items() if "connecters" in k and k not in over_frames}
    print(
        f"\n{count(view):.1f} million: {count(over_frames):.1f} never run, {count(connectors):.1f} "
        "connectors"
    )
    assert round(count(view)) == PUBLISHED_VIEW
    assert round(count(over_frames)) == NEVER_RUNS
    assert (
        round(count(view) - count(over_frames) - count(connectors), 1) == 859.5
    )  # Stable Diffusion 1.5
