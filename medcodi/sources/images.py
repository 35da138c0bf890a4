"""Reading of image files that may be damaged, huge or outside the source folder. Legend: H W
pixels."""

import math
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

# for each prepared pixel and axis, at least, that Lanczos gets of a larger image; blocks of more
# are averaged
SAMPLES = 2.5
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
COLOUR = 24  # of 255: what the channels of a pixel differ by, at least, where it has a colour
# what Pillow is known to raise on a damaged file
DAMAGED = (
    OSError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)


def safe_path(source: Path, relative: str) -> Path:
    """The file `relative` of the folder `source`. Raises ValueError when it leaves the folder (..,
    absolute, link) or is no file."""
    try:
        path = (source / relative).resolve()
        exists, is_file = path.exists(), path.is_file()
    except (OSError, RuntimeError) as error:  # a name that is too long; a loop of links
        reason = getattr(error, "strerror", None) or "a loop of links"
        raise ValueError(f"{relative!r:.120} cannot be followed: {reason}") from None
    if not path.is_relative_to(source.resolve()):
        raise ValueError(f"{relative!r} lies outside the source folder")
    if not exists:
        raise ValueError(f"{relative!r} does not exist")
    if not is_file:
        raise ValueError(f"{relative!r} is not a regular file")
    return path


def read_grey(path: Path, max_value_16bit: int = 65535) -> np.ndarray:
    """Float32 (H, W) in [0, 1]: EXIF orientation applied, colour to luma (ITU-R 601), 16-bit greys
    keep their bits (`max_value_16bit` is white, 4095 for 12 bits in a 16-bit file). Raises
    ValueError with the reason for any unreadable image."""
    return read_picture(path, max_value_16bit)[0]


def read_picture(path: Path, max_value_16bit: int = 65535) -> tuple[np.ndarray, float]:
    """`read_grey`, and the share of the pixels that had a colour."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check_size(image)
                image.load()
                _check_opaque(image)
                greys = _to_unit(ImageOps.exif_transpose(image), max_value_16bit)
                return greys, coloured_share(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"image is too large: {error}") from None
    except DAMAGED as error:
        reason = str(error).replace(str(path), path.name)
        raise ValueError(f"image cannot be read: {reason or type(error).__name__}") from None


def coloured_share(image: Image.Image) -> float:
    """The share of the pixels that have a colour; compression alone gives grey ones none."""
    if image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I"):
        return 0.0
    channels = np.asarray(image.convert("RGB"))  # (H, W, 3)
    return round(float(np.mean(np.ptp(channels, axis=2) > COLOUR)), 6)


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width == 0 or height == 0:
        raise ValueError(f"image is empty: {width} x {height} pixels")
    if Image.MAX_IMAGE_PIXELS is not None and max(width, height) ** 2 > Image.MAX_IMAGE_PIXELS:
        raise ValueError(
            f"image is too large: {width} x {height} pixels, padded to a square over "
            f"{Image.MAX_IMAGE_PIXELS} pixels"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"image has {image.n_frames} frames, expected one")


def _check_opaque(image: Image.Image) -> None:
    """Raises ValueError where pixels are transparent: what they show depends on the viewer."""
    if not image.has_transparency_data:
        return
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    if (alpha < 255).any():
        share = np.mean(alpha < 255)
        raise ValueError(f"{share:.1%} of the pixels are transparent, expected an opaque image")


def _to_unit(image: Image.Image, max_value_16bit: int) -> np.ndarray:
    if image.mode.startswith("I"):  # I;16, I;16B, I (32-bit container)
        pixels = np.asarray(image, np.int64)
        if pixels.min() < 0 or pixels.max() > max_value_16bit:
            raise ValueError(
                f"16-bit pixels must lie in [0, {max_value_16bit}], got {pixels.min()} to "
                f"{pixels.max()}"
            )
        return (pixels / max_value_16bit).astype(np.float32)
    if image.mode == "F":
        raise ValueError("image holds floating point pixels, expected 8 or 16 bits")
    return np.asarray(image.convert("L"), np.float32) / 255.0


def to_square(image: np.ndarray, size: int) -> np.ndarray:
    """Centre (H, W) on black in a square, never cropped, and resize to (size, size) with
    antialiasing."""
    height, width = image.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), np.float32)
    square[top : top + height, left : left + width] = image
    if side == size:
        return square
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS)
    return np.clip(np.asarray(resized, np.float32), 0.0, 1.0)  # Lanczos overshoots at edges


def fit_square(
    pixels: np.ndarray,
    size: int,
    aspect: float = 1.0,
    grey: Callable[[np.ndarray], np.ndarray] = lambda means: means,
) -> np.ndarray:
    """(H, W) of numbers, each pixel `aspect` times as high as wide, centred on black in a square
    and resized to float32 (size, size) in [0, 1]: the two resamplings and the padding in one, by
    Lanczos, to fractions of a pixel.

    `grey`: from numbers to greys in [0, 1], linear, so that it may come after the averaging of
    blocks, on fewer pixels.
    """
    if aspect == 1 and max(pixels.shape) == size:
        return to_square(np.clip(grey(pixels.astype(np.float32)), 0.0, 1.0), size)
    pitches = aspect, 1.0  # height and width of a pixel
    side = max(n * pitch for n, pitch in zip(pixels.shape, pitches, strict=True))
    blocks = [max(1, int(side / pitch / size / SAMPLES)) for pitch in pitches]
    canvas = np.clip(grey(block_means(pixels, *blocks)), 0.0, 1.0)
    box = []  # the square on the canvas: top and left, height and width
    for axis, (pitch, block) in enumerate(zip(pitches, blocks, strict=True)):
        extent, wanted = pixels.shape[axis] / block, side / pitch / block
        margin = max(0.0, round((wanted - extent) / 2, 6))
        if margin:  # the last block may lie partly in the padding
            np.moveaxis(canvas, axis, 0)[-1] *= extent - (canvas.shape[axis] - 1)
        padding = math.ceil(margin)
        canvas = np.pad(
            canvas, [(padding, padding) if axis == here else (0, 0) for here in range(2)]
        )
        box.append((padding - margin, padding - margin + min(wanted, extent + 2 * margin)))
    (top, bottom), (left, right) = box
    resized = Image.fromarray(canvas).resize(
        (size, size), Image.Resampling.LANCZOS, (left, top, right, bottom)
    )
    return np.clip(np.asarray(resized, np.float32), 0.0, 1.0)


def with_look(image: np.ndarray, look: str) -> np.ndarray:
    """Float (H, W) in [0, 1] in the look "stored" (as it is), "min_max" (from its smallest to its
    largest grey) or "equalised" (this, then histogram equalisation of 256 levels). An image of one
    grey stays."""
    low, high = float(image.min()), float(image.max())
    if look == "stored" or low == high:
        return image
    stretched = (image - low) / np.float32(high - low)
    if look == "min_max":
        return stretched
    levels = np.floor(stretched * 255 + 1e-4).astype(np.int64)
    return equalisation(np.bincount(levels.reshape(-1), minlength=256))[levels].astype(np.float32)


def equalisation(histogram: np.ndarray) -> np.ndarray:
    """(V,) the grey in [0, 1] of each of V levels: the first one that occurs becomes 0, each other
    one the share of the other pixels up to it, rounded to V levels."""
    total = np.cumsum(histogram)
    first, top = histogram[histogram > 0][0], len(histogram) - 1
    share = np.clip((total - first) / max(total[-1] - first, 1), 0, 1)
    return np.rint(share * top) / top


def block_means(pixels: np.ndarray, down: int, across: int) -> np.ndarray:
    """(H, W) -> float32 (ceil(H / down), ceil(W / across)): means of blocks, of what there is of
    them at the lower and the right edge."""
    (height, width), whole = pixels.shape, pixels.shape[0] // down
    kind = (
        np.float32
        if pixels.dtype.kind == "f"
        else np.uint32
        if down * across <= 2**16
        else np.uint64
    )  # no overflow
    rows = pixels[: whole * down].reshape(whole, down, width).sum(axis=1, dtype=kind)
    if height % down:
        rows = np.concatenate([rows, pixels[whole * down :].sum(axis=0, dtype=kind, keepdims=True)])
    rows = np.pad(rows, [(0, 0), (0, -width % across)]) if width % across else rows
    sums = np.einsum("hwk->hw", rows.reshape(len(rows), -1, across))
    counts = [
        np.minimum(k, n - np.arange(0, n, k)).astype(np.float32)
        for n, k in ((height, down), (width, across))
    ]
    return sums.astype(np.float32, copy=False) / np.outer(*counts)
