"""Images for metrics: one form, checked. Legend: N images, H, W pixels."""

from collections.abc import Sequence

import numpy as np


def as_float_images(images: Sequence[np.ndarray] | np.ndarray, where: str = "images") -> np.ndarray:
    """(N, H, W) uint8, uint16 or float in [0, 1] -> float32 in [0, 1].

    Differences of unsigned integers wrap (10 - 20 = 246), so that no metric ever sees any.
    ValueError for no image, other shapes, NaN or infinite pixels and values outside [0, 1], naming
    the first image that is at fault.
    """
    if len(images) == 0:
        raise ValueError(f"{where}: expected at least one image, got none")
    if len({np.shape(image) for image in images}) > 1:
        raise ValueError(
            f"{where}: expected images of one size, got "
            f"{sorted({np.shape(image) for image in images})}"
        )
    array = np.asarray(images)
    if array.ndim != 3:
        raise ValueError(f"{where}: expected grey images (N, H, W), got shape {array.shape}")
    if array.dtype in (np.uint8, np.uint16):
        return array.astype(np.float32) / np.iinfo(array.dtype).max
    if array.dtype.kind != "f":
        raise ValueError(f"{where}: expected uint8, uint16 or float pixels, got {array.dtype}")
    array = array.astype(np.float32)
    finite = np.isfinite(array).all(axis=(1, 2))
    if not finite.all():
        raise ValueError(
            f"{where}: {int((~finite).sum())} of {len(array)} images hold NaN or infinite pixels, "
            f"first image {int(finite.argmin())}"
        )
    inside = (array.min(axis=(1, 2)) >= -1e-6) & (array.max(axis=(1, 2)) <= 1 + 1e-6)
    if not inside.all():
        image = array[inside.argmin()]
        raise ValueError(
            f"{where}: pixels must lie in [0, 1]; image {inside.argmin()} has [{image.min():g}, "
            f"{image.max():g}]"
        )
    return array


def pixel_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Root mean squared pixel difference of N pairs of images, (N,) in [0, 1]."""
    a, b = as_float_images(first, "first images"), as_float_images(second, "second images")
    if a.shape != b.shape:
        raise ValueError(f"expected pairs of equal shape, got {a.shape} and {b.shape}")
    return np.sqrt(((a - b) ** 2).mean(axis=(1, 2)))
