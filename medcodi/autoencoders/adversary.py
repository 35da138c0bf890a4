"""An adversary of decoded images: a discriminator of patches (Isola et al. 2017), as autoencoders
of latent diffusion have it (Esser et al. 2021; Rombach et al. 2022), on what a blur takes away.

L1 asks for the median of all images that a latent could mean, which has less texture than any of
them. A decoded image differs from the real one by a few hundredths, nearly all of it in edges and
fine lines, so the discriminator sees these alone and need not find them below the anatomy.
Legend: B batch, S image side.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIGMA, REACH = 1.5, 4  # of the blur, in pixels
GAIN = 10.0  # brings what is left of a radiograph in [-1, 1] to about unit size
SLOPE, GROUPS = 0.2, 4


class PatchAdversary(nn.Module):
    """Images (B, 1, S, S) in [-1, 1] -> scores (B, 1, S/8, S/8), one a patch of about 38 pixels:
    high for real ones."""

    blur: Tensor

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        offsets = torch.arange(-REACH, REACH + 1, dtype=torch.float32)
        bell = torch.exp(-offsets.square() / (2 * SIGMA**2))
        bell = bell / bell.sum()
        self.register_buffer("blur", (bell[:, None] * bell)[None, None], persistent=False)
        layers: list[nn.Module] = [nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for before, after, stride in (
            (width, 2 * width, 2),
            (2 * width, 4 * width, 2),
            (4 * width, 4 * width, 1),
        ):
            kernel = 4 if stride == 2 else 3
            layers += [
                nn.Conv2d(before, after, kernel, stride, 1),
                nn.GroupNorm(GROUPS, after),
                nn.LeakyReLU(SLOPE),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):  # a small difference
            images = images.float()
            low = F.conv2d(F.pad(images, (REACH,) * 4, mode="reflect"), self.blur)
            detail = (images - low) * GAIN
        return self.layers(detail)

    def losses(self, decoded: Tensor, real: Tensor) -> dict[str, Tensor]:
        """`adversarial` has gradients for what made `decoded`, `discriminator` for this module
        alone; the hinge form (Lim and Ye 2017)."""
        real = real.to(decoded.dtype)  # else rounding to bf16 tells which is which
        with resting(self):
            adversarial = -self(decoded).mean()
        hinge = F.relu(1 - self(real)).mean() + F.relu(1 + self(decoded.detach())).mean()
        return {"adversarial": adversarial, "discriminator": hinge}


@contextmanager
def resting(module: nn.Module) -> Iterator[None]:
    """Inside, the parameters of `module` get no gradient; its inputs do."""
    trained = [p for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
