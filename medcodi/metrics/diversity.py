"""How different are samples from each other? Mean MS-SSIM over random pairs (Odena et al. 2017): 1
is one image repeated."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

from medcodi.metrics.fidelity import group_weights
from medcodi.metrics.images import as_float_images
from medcodi.metrics.statistics import Estimate, spread

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003
KERNEL = 11


def num_scales(size: int) -> int:
    """Scales that an image of this side has room for: the kernel must fit the smallest one; at most
    five."""
    scales = [
        s
        for s in range(1, 6)
        if size // 2 ** (s - 1) > KERNEL and size // max((s - 1) ** 2, 1) > KERNEL - 1
    ]
    return max(scales, default=0)


def pairwise_ms_ssim(
    images: np.ndarray,
    num_pairs: int = 200,
    num_resamples: int = 500,
    seed: int = 0,
    groups: Sequence[Any] | None = None,
) -> Estimate:
    """Mean MS-SSIM of `num_pairs` random pairs of different images (N, H, W), with the interval
    over patients (`groups` (N,), default: every image its own): a resample weighs a pair by how
    often both of its patients were drawn.

    Small images have fewer than five scales (`num_scales`), their weights scaled to sum 1.
    ValueError for fewer than two images, or images too small for one scale.
    """
    pixels = torch.from_numpy(as_float_images(images))[:, None]  # N, 1, H, W
    scales = num_scales(min(pixels.shape[-2:]))
    if len(pixels) < 2 or not scales:
        size = tuple(pixels.shape[-2:])
        raise ValueError(
            f"MS-SSIM needs two images with sides above {KERNEL}, got {len(pixels)} of {size}"
        )
    rng = np.random.default_rng(seed)
    first = rng.integers(len(pixels), size=num_pairs)
    second = (first + rng.integers(1, len(pixels), size=num_pairs)) % len(pixels)
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    values = (
        ms_ssim(
            pixels[first],
            pixels[second],
            data_range=1.0,
            kernel_size=KERNEL,
            betas=tuple(weights.tolist()),
            normalize="relu",
            reduction="none",
        )
        .numpy()
        .astype(float)
    )
    drawn = group_weights(len(pixels), groups, num_resamples, rng)  # K, N
    both = drawn[:, first] * drawn[:, second]
    with np.errstate(invalid="ignore"):  # few images: a resample may hold no pair
        means = (both @ values) / both.sum(axis=1)
    return spread(values.mean(), means, len(pixels))
