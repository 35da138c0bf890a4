"""The image tower with a convolutional stem in the place of the patch embedding."""

import pytest
import torch

from medcodi.encoders.image import ImageTower


def tower(**changed):
    sizes = {"image_size": 32, "patch_size": 8, "width": 16, "layers": 1, "heads": 2}
    torch.manual_seed(0)
    return ImageTower(**(sizes | {"stem": [8, 8]} | changed))


def test_a_stem_gives_the_grid_of_its_patches():
    tokens, mask = tower()(torch.rand(2, 1, 32, 32) * 2 - 1)
    assert tokens.shape == (2, 16, 16) and mask.all()


def test_a_token_sees_beyond_its_patch():
    """What patches of pixels cannot: the pixel left of a patch reaches the patch's embedding."""
    images = torch.zeros(1, 1, 32, 32)
    changed = images.clone()
    changed[..., 8, 7] = 1  # in the first patch of the second row, beside the second patch
    for stem, differs in (([8, 8], True), (None, False)):
        embedding = tower(stem=stem).transformer.conv1
        before, after = (embedding(x.expand(-1, 3, -1, -1))[0, :, 1, 1] for x in (images, changed))
        assert torch.equal(before, after) is not differs


def test_a_stem_of_another_depth_is_refused():
    with pytest.raises(ValueError, match=r"2 convolutions of stride 2 makes patches of 4.*is 8"):
        tower(stem=[8])
