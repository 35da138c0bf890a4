"""Latents and prompt encodings of the frozen networks, computed once per split and memory-mapped.

Legend: B batch, L prompt tokens, W token width.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medcodi.config import fingerprint
from medcodi.data.cache import ArrayCache, CacheWriter, StaleCacheError
from medcodi.encoders.base import PromptEncoding
from medcodi.training.run import Run
from medcodi.training.task import to_device

logger = logging.getLogger(__name__)
CHUNK = 64


def cache_key(run: Run, name: str) -> str:
    """Hash of the weights that make the cache of a modality, and of the data that they see."""
    group = run.family.modality(name).group
    return fingerprint([run.hash(f"autoencoder/{group}"), run.hash("stage1"), str(run.recipe.data.prepared),
                        run.data("train", [name]).index["splits"]])  # fmt: skip


def open_cache(run: Run, split: str, name: str, device: torch.device | str = "cpu") -> ArrayCache:
    """The cache of a modality; computed when missing, computed again (and said so) when its weights changed."""
    folder, key = run.folder / "cache" / split / name, cache_key(run, name)
    if folder.is_dir():
        try:
            return ArrayCache.open(folder, key)
        except StaleCacheError as error:
            logger.warning("%s: computing it again", error)
    _compute(run, split, name, key, torch.device(device))
    return ArrayCache.open(folder, key)


@torch.no_grad()
def _compute(run: Run, split: str, name: str, key: str, device: torch.device) -> None:
    modality, data = run.family.modality(name), run.data(split, [name])
    autoencoder, space = run.autoencoder(modality.group).to(device), run.shared_space().to(device)
    rows = data.present[:, 0].nonzero()[0]
    logger.info("caching %d rows of %s/%s", len(rows), split, name)
    with CacheWriter(run.folder / "cache" / split / name, len(data), key) as writer:
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            values = to_device(modality.collate([s.values[name] for s in data.batch(chunk)]), device)
            encoding = space.encode(name, values)
            writer.append(
                chunk, latents=autoencoder.encode(values), embeds=encoding.embeds, tokens=encoding.tokens,
                mask=encoding.mask,
            )  # fmt: skip


@dataclass
class CachedBatch:
    """`latents[m]` (B, ...), `encodings[m]`, `present[m]` (B,) bool; rows that lack m hold zeros and are masked."""

    latents: dict[str, torch.Tensor]
    encodings: dict[str, PromptEncoding]
    present: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))


class CachedStudies:
    """Studies of a split as CachedBatch: `latents` of the names in `outputs`, encodings of those in `prompts`."""

    def __init__(self, run: Run, split: str, outputs: Sequence[str], prompts: Sequence[str], least: int = 1) -> None:
        """Keeps the studies that have at least `least` of the outputs."""
        self.outputs, self.prompts = list(outputs), list(prompts)
        self.prompt_latents = run.recipe.diffusion.prompt_latents
        names = list(dict.fromkeys([*outputs, *prompts]))
        self.caches = {name: open_cache(run, split, name) for name in names}
        counts = np.sum([self.caches[name].present for name in self.outputs], axis=0)
        self.studies = (counts >= least).nonzero()[0]

    def __len__(self) -> int:
        return len(self.studies)

    def _rows(self, name: str, array: str, studies: np.ndarray) -> torch.Tensor:
        values, present = self.caches[name].gather(array, studies)
        full = values.new_zeros(len(studies), *values.shape[1:])
        full[torch.from_numpy(present)] = values
        return full

    def __getitem__(self, indices: list[int]) -> CachedBatch:
        studies = self.studies[np.asarray(indices)]
        present = {n: torch.from_numpy(c.present[studies]) for n, c in self.caches.items()}
        latents = {n: self._rows(n, "latents", studies) for n in self.outputs if self.caches[n].arrays}
        encodings: dict[str, Any] = {}
        for n in self.prompts:
            if self.caches[n].arrays:
                arrays = ("embeds", "tokens", "mask", "latents") if self.prompt_latents else ("embeds", "tokens", "mask")
                encodings[n] = PromptEncoding(*(self._rows(n, a, studies) for a in arrays))
        return CachedBatch(latents, encodings, present)
