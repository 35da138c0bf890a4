"""A tiny Stable Diffusion folder with random weights."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from tests.tiny import IMAGE, SIZE


def write_vae(folder: Path) -> Path:
    """`folder/vae`: the VAE that `tests.tiny` describes, in three channels."""
    torch.manual_seed(0)
    args = IMAGE["autoencoder"]
    AutoencoderKL(
        in_channels=3,
        out_channels=3,
        block_out_channels=args["block_out_channels"],
        latent_channels=2,
        norm_num_groups=args["norm_num_groups"],
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        sample_size=SIZE,
        mid_block_add_attention=False,
    ).save_pretrained(folder / "vae")
    return folder
