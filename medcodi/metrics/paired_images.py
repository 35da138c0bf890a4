"""Errors of images beside the real images of the same studies.

They say how well a translation or a reconstruction restores its image. A sample that was asked for
by a finding alone shows another patient: its values say little. Legend: N images, H W pixels.
"""

import numpy as np
import torch
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from medcodi.metrics.images import as_float_images
from medcodi.metrics.statistics import Estimate, bootstrap

LEAST = 1e-10  # mean squared error that counts as none: 100 dB


def paired_figures(
    images: np.ndarray, real: np.ndarray, num_resamples: int = 500, seed: int = 0
) -> dict[str, Estimate]:
    """MSE, PSNR (dB, range 1) and SSIM (Wang et al. 2004), means over N pairs of images (N, H, W)
    in [0, 1]. ValueError for other shapes."""
    a, b = as_float_images(images, "images"), as_float_images(real, "real images")
    if a.shape != b.shape:
        raise ValueError(f"expected pairs of equal shape, got {a.shape} and {b.shape}")
    error = np.square(a.astype(np.float64) - b).mean(axis=(1, 2))  # N
    pairs = [torch.from_numpy(part)[:, None] for part in (a, b)]
    alike = ssim(*pairs, data_range=1.0, reduction="none").numpy().astype(float).reshape(-1)
    values = {"MSE": error, "PSNR": -10 * np.log10(np.maximum(error, LEAST)), "SSIM": alike}
    return {
        name: bootstrap(lambda rows, v=v: float(v[rows].mean()), len(v), None, num_resamples, seed)
        for name, v in values.items()
    }
