"""Parts of an image: a picture and a mask that is white where it is generated.

Pixels outside the mask are those of the picture, to the bit. Legend: B rows, S side, f pixels of a
latent cell.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from medcodi.autoencoders.base import Autoencoder
from medcodi.data.user_images import fit, picture_greys, to_greys
from medcodi.diffusion.keep import Kept
from medcodi.modalities.parts import Part, Parts

SEAM_REACH = 12.0  # pixels inside the mask over which a difference at its border fades to 1 / e
SEAM_STEPS = 300
FOLLOW = True  # by the gradient: what it gives and takes, says docs/notebook.md


class ImageParts(Parts):
    """A part is `(image, mask)`: two pictures of one size. The mask is white (255, 1 or True) where
    the image is generated and black where it is kept. Part.value: (S, S) greys; Part.gap: (S, S)
    bool."""

    has_mask = True

    def from_user(self, values: Any, varied: bool) -> list[Part | None]:
        if isinstance(values, (np.ndarray, torch.Tensor)) and values.ndim == 4:
            values = list(values)  # (N, C, H, W) holds several, as among prompts
        values = values if isinstance(values, list) else [values]
        try:
            return [None if v is None else self._part(v, varied) for v in values]
        except ValueError as error:
            raise ValueError(f"modality {self.name!r}: {error}") from None

    def parse(self, text: str, mask: str | None, varied: bool) -> list[Part | None]:
        return self.from_user(Path(text) if mask is None else (Path(text), Path(mask)), varied)

    def _part(self, value: Any, varied: bool) -> Part:
        size = self.modality.args.size
        if not isinstance(value, tuple):
            if not varied:
                raise ValueError(
                    "nothing is left to generate: keep (image, mask), the mask white where the "
                    "image is generated, or vary the image as a whole with a strength below 1"
                )
            return Part(to_greys(value, size))
        if len(value) != 2:
            raise ValueError(f"expected (image, mask), got a tuple of {len(value)}")
        picture, mask = (picture_greys(each) for each in value)
        if picture.shape != mask.shape:
            raise ValueError(
                f"the mask must have the size of its image, {_size(picture)}, got {_size(mask)}"
            )
        gap = shrunk(mask >= 0.5, size)
        if not gap.any():
            raise ValueError("the mask is black: nothing is left to generate (white is generated)")
        if gap.all() and not varied:
            raise ValueError("the mask is white everywhere: nothing is kept")
        return Part(fit(picture, size), gap)

    def kept(
        self, autoencoder: Autoencoder, parts: Sequence[Part], start: float, batch_size: int
    ) -> Kept:
        """A latent cell is given where all of its pixels are."""
        kept = super().kept(autoencoder, parts, start, batch_size)
        size = self.modality.args.size
        everywhere = np.ones((size, size), bool)
        gaps = np.stack([everywhere if part.gap is None else part.gap for part in parts])
        open_pixels = torch.from_numpy(gaps)[:, None].float()  # (B, 1, S, S)
        open_cells = F.max_pool2d(open_pixels, size // kept.latents.shape[-1])
        kept.given = (open_cells == 0).to(kept.latents.device).expand_as(kept.latents)
        kept.moved = kept.given.flatten(1).any(dim=1)
        kept.follow = FOLLOW and bool(kept.moved.any())
        return kept

    def compose(self, part: Part, generated: np.ndarray) -> np.ndarray:
        return blended(generated, part.value, part.gap)


def _size(greys: np.ndarray) -> str:
    return f"{greys.shape[1]} x {greys.shape[0]}"


def shrunk(mask: np.ndarray, size: int) -> np.ndarray:
    """(H, W) bool -> (S, S) bool, padded to a square as its image is: True where any pixel of the
    mask lies."""
    height, width = mask.shape
    side = max(height, width)
    square = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = mask
    if side != size:
        box = Image.Resampling.BOX
        square = np.asarray(Image.fromarray(square).resize((size, size), box))
    return square > 0


def blended(generated: np.ndarray, picture: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """`picture` (S, S), with `generated` in `gap` (S, S) bool.

    Inside the gap the difference at its border is taken up and fades with the distance: the
    screened membrane (Laplace - 1 / reach^2) h = 0, h = picture - generated around the gap, is
    added (Perez et al. 2003, with a screen), so that there is no seam. Outside nothing changes.
    """
    rows, columns = (np.flatnonzero(gap.any(axis=axis)) for axis in (1, 0))
    window = (
        slice(max(rows[0] - 1, 0), rows[-1] + 2),
        slice(max(columns[0] - 1, 0), columns[-1] + 2),
    )
    inside = gap[window]
    difference = np.where(inside, 0.0, picture[window].astype(np.float64) - generated[window])
    weight = 1 / (4 + SEAM_REACH**-2)
    for _ in range(SEAM_STEPS):  # Jacobi; the edge of the picture is no border
        around = np.pad(difference, 1, mode="edge")
        mean = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
        difference = np.where(inside, weight * mean, difference)
    result = picture.copy()
    filled = (generated[window] + difference).clip(0, 1).astype(picture.dtype)
    result[window] = np.where(inside, filled, picture[window])
    return result
