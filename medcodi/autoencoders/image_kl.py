"""Image autoencoder: diffusers' AutoencoderKL (Rombach et al. 2022) on one-channel radiographs.

With `patch` p > 1 the network sees p x p pixels as p^2 channels (space to depth), so that it spends
nothing on full-size feature maps.
Legend: B batch, S image side, C latent channels, f down-sampling factor, p side of a patch.
"""

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from medcodi.autoencoders.adversary import PatchAdversary
from medcodi.autoencoders.base import Autoencoder, kl_per_dimension, reparametrize

RAMP = 0.05  # share of the training over which the weight of the adversary rises


def image_gradients(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Horizontal and vertical finite differences."""
    return images[..., :, 1:] - images[..., :, :-1], images[..., 1:, :] - images[..., :-1, :]


class ImageKL(Autoencoder):
    """(B, 1, S, S) in [-1, 1] <-> latents (B, C, S/f, S/f), f = p 2^(levels - 1).

    Loss: L1 + edge_weight * L1 of image gradients (keeps ribs and lung edges sharp without a
    downloaded perceptual network) + kl_weight * KL to N(0, I), and in training, with an adversary,
    adversarial_weight * its score of what is decoded + the loss of the adversary itself.
    """

    def __init__(
        self,
        image_size: int,
        block_out_channels: list[int],
        layers_per_block: int,
        latent_channels: int,
        norm_num_groups: int,
        mid_block_add_attention: bool,
        kl_weight: float,
        edge_weight: float,
        in_channels: int = 1,
        patch: int = 1,
        train_encoder: bool = True,
        adversarial_weight: float = 0.0,
    ) -> None:
        levels = len(block_out_channels)
        factor = patch * 2 ** (levels - 1)
        if image_size % factor:
            raise ValueError(
                f"image size {image_size} is not divisible by the autoencoder's factor {factor}"
            )
        super().__init__((latent_channels, image_size // factor, image_size // factor))
        self.kl_weight, self.edge_weight, self.in_channels = kl_weight, edge_weight, in_channels
        self.patch, self.all_trained = patch, train_encoder
        self.adversarial_weight = adversarial_weight
        self.vae = AutoencoderKL(
            in_channels=in_channels * patch**2,
            out_channels=in_channels * patch**2,
            sample_size=image_size // patch,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            latent_channels=latent_channels,
            norm_num_groups=norm_num_groups,
            mid_block_add_attention=mid_block_add_attention,
        )

    def posterior(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        channels = values.expand(-1, self.in_channels, -1, -1)
        posterior = self.vae.encode(F.pixel_unshuffle(channels, self.patch)).latent_dist
        return posterior.mean, posterior.logvar  # (B, C, S/f, S/f) each

    def decode_posterior(self, latents: torch.Tensor) -> torch.Tensor:
        decoded = F.pixel_shuffle(self.vae.decode(latents).sample, self.patch)
        return decoded.mean(dim=1, keepdim=True)  # (B, 1, S, S)

    def losses(
        self,
        values: torch.Tensor,
        progress: float,
        generator: torch.Generator | None = None,
        adversary: PatchAdversary | None = None,
    ) -> dict[str, torch.Tensor]:
        with torch.set_grad_enabled(self.all_trained and torch.is_grad_enabled()):
            mean, logvar = self.posterior(values)
        decoded = self.decode_posterior(reparametrize(mean, logvar, generator))
        l1 = F.l1_loss(decoded, values)
        edges = sum(
            F.l1_loss(a, b)
            for a, b in zip(image_gradients(decoded), image_gradients(values), strict=True)
        )
        kl = kl_per_dimension(mean, logvar).sum(dim=(1, 2, 3)).mean() / values[0].numel()
        loss = l1 + self.edge_weight * edges + self.kl_weight * kl
        parts = {"l1": l1, "edges": edges, "kl": kl}
        if adversary is not None and self.training:  # validation says how well it reconstructs
            judged = adversary.losses(decoded, values)
            weight = self.adversarial_weight * min(progress / RAMP, 1.0)
            loss = loss + weight * judged["adversarial"] + judged["discriminator"]
            parts |= judged
        return {"loss": loss} | {name: part.detach() for name, part in parts.items()}

    @torch.no_grad()
    def reconstruction(self, values: torch.Tensor) -> dict[str, float]:
        """Mean PSNR in dB over the range [-1, 1]."""
        error = (
            (self.decode(self.encode(values)).clamp(-1, 1) - values).square().mean(dim=(1, 2, 3))
        )  # (B,)
        return {"psnr": float((10 * torch.log10(4 / error.clamp(min=1e-10))).mean())}
