"""Pictures as users hold them -> greys as the networks see them. Legend: H W pixels, S side.

A picture is a PIL image, the path of an image file, or an array or tensor of shape (H, W),
(1, H, W), (H, W, 1), (3, H, W) or (H, W, 3). Whole numbers are 8 or 16 bits, floats lie in [0, 1].
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as PIL's "L"
MAX_SIDE = 9459  # its square is the most that Pillow opens without a warning
SHAPES = "(H, W), (1, H, W), (H, W, 1), (3, H, W) or (H, W, 3)"
WHITE = {"b": 1, "u1": 255, "u2": 65535}  # numpy kinds of whole numbers -> white


def to_greys(picture: Any, size: int) -> np.ndarray:
    """Any picture -> float32 (S, S) in [0, 1], S = `size`: colours to luma, padded with black to a
    square, resized with antialiasing.

    Raises ValueError for what is no picture, is empty, is too large, or holds numbers out of range
    or not finite. Sizes are checked before anything is allocated.
    """
    return fit(picture_greys(picture), size)


def picture_greys(picture: Any) -> np.ndarray:
    """Any picture -> float32 (H, W) in [0, 1], as large as it is. The same errors."""
    if isinstance(picture, (str, Path)):
        return _read(Path(picture))
    if isinstance(picture, Image.Image):
        return image_to_greys(picture)
    if isinstance(picture, torch.Tensor):
        if picture.is_floating_point():
            picture = picture.float()  # numpy knows no bfloat16
        picture = picture.detach().cpu().numpy()
    if isinstance(picture, np.ndarray):
        return array_to_greys(picture)
    raise ValueError(
        "expected a PIL image, an array or a tensor of shape "
        f"{SHAPES}, or the path of an image file, got {type(picture).__name__}"
    )


def read_picture(path: Path, size: int) -> np.ndarray:
    """`to_greys` of an image file."""
    return fit(_read(path), size)


def _read(path: Path) -> np.ndarray:
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # too long a name, a null in it
        is_file = False
    if not is_file:
        raise ValueError(f"no image file at {str(path)!r:.200}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                check_size(*image.size)
                image.load()
                return image_to_greys(ImageOps.exif_transpose(image))
    except ValueError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is too large: {error}") from None
    except Exception as error:  # Pillow raises many kinds for a damaged file
        raise ValueError(f"{path} is not a readable image: {error}") from error


def image_to_greys(image: Image.Image) -> np.ndarray:
    """PIL image -> float32 (H, W) in [0, 1]."""
    check_size(*image.size)
    if image.mode == "F" or image.mode.startswith("I"):
        pixels = np.asarray(image)
        if image.mode == "F":
            return _check_range(pixels.astype(np.float32), 1, "a float image")
        return _check_range(pixels.astype(np.int64), 65535, "a 16-bit image") / np.float32(65535)
    return np.asarray(image.convert("L"), dtype=np.float32) / 255


def array_to_greys(array: np.ndarray) -> np.ndarray:
    """Array -> float32 (H, W) in [0, 1]."""
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise ValueError(f"an image must have the shape {SHAPES}, got {array.shape}")
    height, width, channels = array.shape
    check_size(width, height)
    kind = array.dtype.kind if array.dtype.kind == "b" else array.dtype.str[1:]
    if kind in WHITE:
        array = array.astype(np.float32) / WHITE[kind]
    elif array.dtype.kind == "f":
        array = _check_range(array.astype(np.float32), 1, "a float image")
    else:
        raise ValueError(
            f"an image must hold uint8, uint16, bool or floats in [0, 1], got {array.dtype}"
        )
    return array[..., 0] if channels == 1 else array @ np.array(LUMA, np.float32)


def fit(greys: np.ndarray, size: int) -> np.ndarray:
    """(H, W) -> (S, S): centred on black, never cropped."""
    height, width = greys.shape
    side = max(height, width)
    square = np.zeros((side, side), dtype=np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = greys
    if side == size:
        return square
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(resized, dtype=np.float32).clip(0, 1)


def check_size(width: int, height: int) -> None:
    """ValueError for an empty picture, and for one whose square would be too large."""
    if width < 1 or height < 1:
        raise ValueError(f"an image must have pixels, got {width} x {height}")
    if max(width, height) > MAX_SIDE:
        raise ValueError(
            f"an image may be {MAX_SIDE} pixels wide and high (it is padded to a square), got "
            f"{width} x {height}"
        )


def _check_range(pixels: np.ndarray, white: int, what: str) -> np.ndarray:
    if not np.isfinite(pixels).all():
        raise ValueError(f"{what} holds NaN or infinite pixels")
    if pixels.min() < 0 or pixels.max() > white:
        raise ValueError(
            f"{what} must lie in [0, {white}], got [{pixels.min():g}, {pixels.max():g}]"
        )
    return pixels
