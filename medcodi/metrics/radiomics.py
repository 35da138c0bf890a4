"""Features without any trained weight: grey-level statistics and textures, as in radiomics
(Haralick et al. 1973).

A distance in them cannot be won by knowing a network. Legend: N images, H, W pixels, D features.
"""

import numpy as np

from medcodi.metrics.fidelity import Groups, check_features, frechet_estimate
from medcodi.metrics.images import as_float_images
from medcodi.metrics.statistics import Estimate

LEVELS = 16
SHIFTS = (1, 2, 4)
ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
TEXTURES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NAMES = (
    "mean",
    "sd",
    "skewness",
    "kurtosis",
    *(f"quantile_{q:g}" for q in QUANTILES),
    "histogram_entropy",
    *(f"{texture}_{shift}" for shift in SHIFTS for texture in TEXTURES),
    "gradient_mean",
    "gradient_sd",
    "laplacian_sd",
    "left_right",
    "top_bottom",
)


def radiomic_features(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W) -> (N, D) in the order of `NAMES`: first order, co-occurrence textures at
    three distances, gradients and the balance of the halves."""
    return np.stack([_features(image) for image in as_float_images(images).astype(np.float64)])


def radiomic_distance(
    generated: np.ndarray, real: np.ndarray, groups: Groups = (None, None)
) -> Estimate:
    """Fréchet distance of radiomic features (N, D), (R, D), each standardised by the real set, over
    D, with its interval."""
    x, y = check_features(generated, "generated"), check_features(real, "real")
    centre, scale = y.mean(axis=0), y.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    whole, width = frechet_estimate((x - centre) / scale, (y - centre) / scale, groups), y.shape[1]
    return Estimate(whole.value / width, whole.low / width, whole.high / width, len(x))


def _features(image: np.ndarray) -> np.ndarray:
    from skimage.feature import graycomatrix, graycoprops

    mean, sd = image.mean(), image.std()
    standard = (image - mean) / max(sd, 1e-6)
    levels = np.minimum((image * LEVELS).astype(np.uint8), LEVELS - 1)
    histogram = np.bincount(levels.ravel(), minlength=LEVELS) / levels.size
    first = [mean, sd, (standard**3).mean(), (standard**4).mean(), *np.quantile(image, QUANTILES)]
    matrix = graycomatrix(levels, SHIFTS, ANGLES, levels=LEVELS, symmetric=True, normed=True)
    textures = np.stack(
        [graycoprops(matrix, name).mean(axis=1) for name in TEXTURES], axis=1
    )  # shifts, textures
    down, right = np.gradient(image)
    gradient = np.hypot(down, right)
    bends = np.diff(image, 2, axis=0)[:, 1:-1] + np.diff(image, 2, axis=1)[1:-1]
    height, width = image.shape
    halves = [
        image[:, : width // 2].mean() - image[:, width // 2 :].mean(),
        image[: height // 2].mean() - image[height // 2 :].mean(),
    ]
    return np.array(
        [
            *first,
            _entropy(histogram),
            *textures.ravel(),
            gradient.mean(),
            gradient.std(),
            bends.std(),
            *halves,
        ]
    )


def _entropy(share: np.ndarray) -> float:
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())
