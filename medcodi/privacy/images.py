"""Images: retrieve the nearest training images, then verify (Packhaeuser et al. 2023).

A generated image whose most alike training image is verified as the same patient is dropped. The
mirror image is looked at too, so that a flipped copy is found.
Legend: N images, T training images, K retrieved ones, D widths.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from medcodi.config_io import build_dataclass
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.metrics.networks.verifier import Verifier, patient_pairs
from medcodi.modalities.base import Modality
from medcodi.nn.weights import load_config, load_module, save_module
from medcodi.privacy.guard import Guard, Match
from medcodi.privacy.verification import VerificationNetwork

RETRIEVED, STRANGERS = 5, 16
BANK = "bank.safetensors"


class ImageGuard(Guard):
    """The score is the highest probability, among the K nearest training images of an image and of
    its mirror image, that both are of one patient."""

    storage, what = "image", "verified as an image of a training patient"

    def __init__(self, settings: FitSettings, size: int, seed: int = 0) -> None:
        self.settings, self.size, self.seed = settings, size, seed
        self.retrieval = Verifier(settings, seed)
        self.verification = VerificationNetwork(settings, seed)
        self.bank: dict[str, np.ndarray] = {}  # embeds (T, D), features (T, D)

    @classmethod
    def fit(
        cls,
        images: np.ndarray,
        patients: Sequence[Any],
        settings: FitSettings,
        seed: int = 0,
    ) -> "ImageGuard":
        """Train both networks on T real images (T, H, W) in [0, 1] and keep their features. Pairs
        are two images of one patient where a patient has two, and one image acquired again
        otherwise. ValueError for fewer than two patients."""
        owners = np.unique(np.asarray(patients), return_inverse=True)[1]
        if owners.max(initial=0) < 1:
            raise ValueError("verification needs images of two patients or more")
        guard = cls(settings, images.shape[-1], seed)
        pairs = np.concatenate([patient_pairs(patients, seed), _with_itself(owners)])
        guard.retrieval.fit(images, pairs)
        embeds = guard.retrieval.embed(images)
        strangers = _strangers(embeds, owners, pairs[:, 0], seed)
        guard.verification.fit(images, pairs, strangers, guard.retrieval.network)
        guard.bank = {"embeds": embeds, "features": guard.verification.features(images)}
        return guard

    def check(self, modality: Modality) -> None:
        super().check(modality)
        self._check_size(modality.args.size, modality.args.size)

    def _check_size(self, height: int, width: int) -> None:
        if (height, width) != (self.size, self.size):
            raise ValueError(
                f"this filter was fitted on images of {self.size} x {self.size} pixels, got "
                f"{height} x {width}: fit one on this resolution"
            )

    def match(self, values: Sequence[Any]) -> Match:
        """ValueError for images of another size than those that the guard was fitted on."""
        images = np.stack(values)
        self._check_size(*images.shape[1:])
        first, second = (self._best(x) for x in (images, images[:, :, ::-1].copy()))
        mirrored = second.score > first.score
        return Match(*(np.where(mirrored, b, a) for a, b in zip(first, second, strict=True)))

    def _best(self, images: np.ndarray) -> Match:
        similarity = self.retrieval.embed(images) @ self.bank["embeds"].T  # (N, T)
        count = min(RETRIEVED, similarity.shape[1])
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]  # (N, K)
        features = self.verification.features(images)[:, None]
        found = self.verification.probabilities(features, self.bank["features"][nearest])
        best = found.argmax(axis=1)[:, None]
        return Match(*(np.take_along_axis(x, best, 1)[:, 0] for x in (found, nearest)))

    def save(self, folder: Path) -> None:
        about = {"settings": dataclasses.asdict(self.settings), "size": self.size}
        about |= {"seed": self.seed, "threshold": self.threshold, "alert": self.alert}
        save_module(self.retrieval.network, folder / "retrieval", about)
        self.verification.save(folder / "verification")
        save_file(self.bank, folder / BANK)

    @classmethod
    def load(cls, folder: Path) -> "ImageGuard":
        about = load_config(folder / "retrieval")
        settings = build_dataclass(FitSettings, about["settings"], str(folder))
        guard = cls(settings, about["size"], about["seed"])
        guard.threshold, guard.alert = about["threshold"], about["alert"]
        load_module(guard.retrieval.build(), folder / "retrieval")
        guard.verification.load(folder / "verification")
        guard.bank = load_file(folder / BANK)
        return guard


def _with_itself(owners: np.ndarray) -> np.ndarray:
    """(P, 2) pairs of an image with itself, of the patients who have one image only."""
    alone = np.flatnonzero(np.bincount(owners)[owners] == 1)
    return np.repeat(alone[:, None], 2, axis=1)


def _strangers(
    embeds: np.ndarray, owners: np.ndarray, queries: np.ndarray, seed: int
) -> np.ndarray:
    """(P, S) images of other patients for each query: the nearest ones, and as many at random."""
    rng, found = np.random.default_rng(seed), []
    half = max(min(STRANGERS // 2, len(np.unique(owners)) - 1), 1)
    for query in queries:
        others = np.flatnonzero(owners != owners[query])
        near = others[np.argsort(-(embeds[others] @ embeds[query]))[:half]]
        found.append(np.concatenate([np.resize(near, half), rng.choice(others, half)]))
    return np.array(found)
