"""Images as 16-bit greyscale PNG. Legend: H W pixels."""

import io
import zlib
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from medcodi.data.greys import Greys


def encode_image(image: np.ndarray) -> bytes:
    """Float (H, W) in [0, 1] -> 16-bit greyscale PNG."""
    pixels = np.round(np.asarray(image, np.float64) * 65535).astype(np.uint16)
    buffer = io.BytesIO()
    # noise of 16 bits does not repeat: without the search for repetitions it takes half the time
    # and 5 % less room
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def decode_image(png: bytes) -> np.ndarray:
    """16-bit greyscale PNG -> float32 (H, W) in [0, 1]."""
    return np.asarray(Image.open(io.BytesIO(png)), np.float32) / 65535.0


@dataclass
class EncodedImage:
    """What `encode_image` made, as the value of a study: it is stored as it is. `greys`, `mark`:
    its figures and its fingerprint (duplicates.py) where they are known already; `notes`: why it is
    a suspect."""

    png: bytes
    greys: Greys | None = None
    mark: bytes | None = None
    notes: list[str] = field(default_factory=list)
