"""Which denoiser a recipe asks for, and arguments that do not fit each other."""

import pytest
import torch

from medcodi.config import DiffusionConfig
from medcodi.diffusion.denoisers.fc_unet import FCUNet
from medcodi.diffusion.denoisers.slots import FCUNetArgs, VectorDenoiserArgs
from medcodi.diffusion.denoisers.vector import VectorDenoiser

SMALL = FCUNetArgs(8, [1, 2], [True, False], 1, 2, 2, 4)
PLAIN, WITH_MEAN = (DiffusionConfig(context_dim=8, prompt_mean=mean) for mean in (False, True))


def test_sizes_reach_the_network_that_is_named():
    with torch.device("meta"):
        transformer = VectorDenoiserArgs(width=16, depth=3).build((2, 4), PLAIN)
        paper = VectorDenoiserArgs(fc_unet=SMALL).build((1, 8), PLAIN)
    assert isinstance(transformer, VectorDenoiser) and transformer.width == 16
    assert isinstance(paper, FCUNet)


def test_arguments_that_exclude_each_other():
    with pytest.raises(ValueError, match="takes its sizes from there"):
        VectorDenoiserArgs(width=64, fc_unet=SMALL).build((1, 8), PLAIN)
    with pytest.raises(ValueError, match="prompt_mean needs the transformer over slots"):
        VectorDenoiserArgs(fc_unet=SMALL).build((1, 8), WITH_MEAN)
    network = VectorDenoiserArgs(fc_unet=SMALL).build((1, 8), PLAIN)
    latents, context = torch.zeros(2, 1, 8), torch.zeros(2, 3, 8)
    seen = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="FCUNet takes no estimate"):
        network(latents, torch.zeros(2), context, seen, estimate=latents)
