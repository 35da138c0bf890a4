"""Which denoiser of slot latents (reports, table rows, signals) a recipe asks for."""

from dataclasses import asdict, dataclass, field

from medcodi.config import DiffusionConfig
from medcodi.diffusion.denoisers.base import Denoiser
from medcodi.diffusion.denoisers.fc_unet import FCUNet
from medcodi.diffusion.denoisers.vector import VectorDenoiser


@dataclass
class FCUNetArgs:
    """The paper's U-Net of fully connected blocks; the defaults are its sizes."""

    model_channels: int = 320
    channel_mult: list[int] = field(default_factory=lambda: [1, 2, 4, 4])
    attention: list[bool] = field(default_factory=lambda: [True, True, True, False])
    num_blocks: int = 2
    second_dim: int = 4
    num_heads: int = 8
    norm_num_groups: int = 32


@dataclass
class VectorDenoiserArgs:
    """Transformer over latent slots; with `fc_unet` the paper's U-Net in its place."""

    width: int = 128
    depth: int = 5
    num_heads: int = 4
    summary: bool = False
    across: bool = False  # first and last layer over all slots at once
    fc_unet: FCUNetArgs | None = None

    def build(self, latent_shape: tuple[int, ...], diffusion: DiffusionConfig) -> Denoiser:
        """The denoiser of latents (B, *latent_shape). ValueError for arguments of both."""
        sizes = {k: v for k, v in asdict(self).items() if k != "fc_unet"}
        if self.fc_unet is None:
            estimate = diffusion.prompt_mean
            return VectorDenoiser(latent_shape, diffusion.context_dim, estimate=estimate, **sizes)
        if self != VectorDenoiserArgs(fc_unet=self.fc_unet):
            raise ValueError(
                "a denoiser with fc_unet takes its sizes from there: leave the transformer's "
                "arguments out"
            )
        if diffusion.prompt_mean:
            raise ValueError(
                "diffusion.prompt_mean needs the transformer over slots, not denoiser.fc_unet"
            )
        return FCUNet(latent_shape, diffusion.context_dim, **asdict(self.fc_unet))
