"""Stable Diffusion 1.5 in diffusers' layout: `vae` and `unet` (Rombach et al. 2022).

Three channels to one. Our radiographs have one channel. Repeating it to three and averaging the
three outputs is, by linearity of the first and the last convolution, the same as ONE channel with
the input kernels summed over RGB and the output kernels averaged over RGB: the one-channel network
below gives the three-channel one's reconstructions.
"""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from medcodi.autoencoders.image_kl import ImageKL
from medcodi.diffusion.denoisers.unet import ImageDenoiser
from medcodi.foreign.ledger import Ledger
from medcodi.foreign.sources import pretrained


def vae_ledger(source: str, in_channels: int) -> tuple[Ledger, float]:
    """Ledger of a diffusers VAE for `ImageKL(in_channels=...)`, and its scaling factor."""
    vae, _ = pretrained(AutoencoderKL, source, "vae")
    ledger = Ledger(f"{source}/vae", vae.state_dict())
    for key in ledger.state:
        move_vae(ledger, key, key, ledger[key], in_channels)
    return ledger, float(vae.config.scaling_factor)


def move_vae(
    ledger: Ledger, name: str, key: str, value: torch.Tensor, in_channels: int, how: str = "copied"
) -> None:
    """One tensor of a VAE, `name` in diffusers' layout, to `ImageKL`; three channels become one
    where asked for."""
    if in_channels == 1 and name == "encoder.conv_in.weight" and value.shape[1] == 3:
        value, how = value.sum(dim=1, keepdim=True), "summed over the RGB inputs"
    elif in_channels == 1 and name.startswith("decoder.conv_out.") and value.shape[0] == 3:
        value, how = value.mean(dim=0, keepdim=True), "averaged over the RGB outputs"
    ledger.move(f"vae.{name}", [key], value, how)


def load_vae(ledger: Ledger, scaling_factor: float, autoencoder: ImageKL) -> None:
    """Latents leave our autoencoder with unit variance: the source multiplies by its scaling
    factor, we divide by latent_std = 1 / scaling factor, until the autoencoder stage measures the
    statistics of the data."""
    reason = (
        "latent statistics: 0 and 1 / scaling factor, measured on the data by the autoencoder stage"
    )
    ledger.load_into(autoencoder, {"latent_mean": reason, "latent_std": reason})
    autoencoder.set_latent_statistics(
        torch.zeros_like(autoencoder.latent_mean),
        torch.full_like(autoencoder.latent_std, 1 / scaling_factor),
    )


def unet_ledger(source: str) -> Ledger:
    """Ledger of a diffusers UNet for `ImageDenoiser`."""
    unet, _ = pretrained(UNet2DConditionModel, source, "unet")
    ledger = Ledger(f"{source}/unet", unet.state_dict())
    for key in ledger.state:
        ledger.move(f"unet.{key}", [key])
    return ledger


def load_unet(ledger: Ledger, denoiser: ImageDenoiser) -> None:
    ledger.load_into(denoiser, {})
