"""A classifier of findings from scratch, as the papers train it on real or on synthetic images.

Legend: N images, K findings, R seeds. Labels are (N, K) of 1, 0 and NaN (unknown: masked).
"""

from collections.abc import Sequence

import numpy as np
import torch

from medcodi.metrics.networks.architectures import as_pixels, build_network, shifted
from medcodi.metrics.networks.fitting import FitSettings, fit, masked_loss, outputs_of
from medcodi.metrics.utility import LabelledImages, Prediction, best_threshold

VALIDATION_SHARE = 0.2


def train_and_predict(
    train: LabelledImages,
    test_images: np.ndarray,
    settings: FitSettings,
    seeds: Sequence[int] = (0,),
) -> Prediction:
    """One network a seed, from scratch. A fifth of the training images (other ones for every seed)
    decides the early stop and, for each finding, the threshold with the best F1: a synthetic set is
    thus judged without a real image.

    ValueError for fewer than 10 images, and when no finding has both classes.
    """
    if len(train) < 10:
        raise ValueError(f"expected 10 training images or more, got {len(train)}")
    if not ((train.labels == 1).any(axis=0) & (train.labels == 0).any(axis=0)).any():
        raise ValueError(
            "no finding has both a positive and a negative training image: nothing to learn"
        )
    pixels, test = as_pixels(train.images, "training images"), as_pixels(test_images, "test images")
    runs = [_train_once(pixels, train.labels, test, settings, seed) for seed in seeds]
    return Prediction(
        np.stack([scores for scores, _ in runs]), np.stack([thresholds for _, thresholds in runs])
    )


def _train_once(
    pixels: torch.Tensor, labels: np.ndarray, test: torch.Tensor, settings: FitSettings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(pixels))
    held, used = np.split(order, [max(int(VALIDATION_SHARE * len(order)), 2)])
    known = torch.from_numpy(~np.isnan(labels))
    target = torch.from_numpy(np.nan_to_num(labels)).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(settings.network, labels.shape[1]).to(settings.device)

        def loss(rows: torch.Tensor) -> torch.Tensor:
            rows = torch.from_numpy(used)[rows]
            out = network(shifted(pixels[rows], settings.max_shift).to(settings.device)).cpu()
            return masked_loss(out, target[rows], known[rows])

        def validate() -> float:
            out = outputs_of(network, pixels[held], device=settings.device)
            return float(masked_loss(out, target[held], known[held]))

        fit(network, loss, len(used), validate, settings)
        scores = outputs_of(network, pixels[held], device=settings.device).sigmoid().numpy()
        thresholds = [best_threshold(t, s) for t, s in zip(labels[held].T, scores.T, strict=True)]
        return outputs_of(network, test, device=settings.device).sigmoid().numpy(), np.array(
            thresholds
        )
