"""Latents and prompt encodings of the frozen networks, computed once per split and memory-mapped.

All processes of a training compute a missing cache together, each its own shards; a shard does not
depend on who computes it. On a CPU it is the same to the bit everywhere; another device, or another
`data.cache_batch`, changes the rounding of sums in float32 (a GPU computes without TF32 here).
Legend: B batch, L prompt tokens, W token width.
"""

import itertools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from medcodi.data.cache import (
    SHARD_ROWS,
    ArrayCache,
    finish_cache,
    finished_key,
    shard_paths,
    write_shard,
)
from medcodi.data.prepared import PreparedDataset
from medcodi.encoders.base import PromptEncoding
from medcodi.modalities.base import Modality
from medcodi.nn.rows import spread
from medcodi.training.identity import cache_key
from medcodi.training.loading import batches
from medcodi.training.run import Run

logger = logging.getLogger(__name__)
# seconds between two looks for a shard of another process, and in all
POLL, PATIENCE = 0.2, 6 * 3600.0


def open_cache(run: Run, split: str, name: str, device: torch.device | str = "cpu") -> ArrayCache:
    """The cache of a modality; computed on `device` when it is missing, computed again (and said
    so) when something else made it. Every process of a training calls it. Each reads its share of
    the shards, to compare checksums, once a run."""
    folder, key, (rank, world) = (
        run.folder / "cache" / split / name,
        cache_key(run, name),
        _processes(),
    )
    held = run.caches.get((split, name))
    if held is None or held.key != key:
        found = finished_key(folder)
        if found != key:
            if found is not None:
                logger.warning(
                    "the cache in %s was made by other weights, arguments or data: computing it "
                    "again",
                    folder,
                )
            _compute(run, split, name, key, torch.device(device))
        held = run.caches[split, name] = ArrayCache.open(
            folder, key, checked=slice(rank, None, world)
        )
    return held


def _processes() -> tuple[int, int]:
    """Rank and number of the processes of this training."""
    alone = not (dist.is_available() and dist.is_initialized())
    return (0, 1) if alone else (dist.get_rank(), dist.get_world_size())


def _compute(run: Run, split: str, name: str, key: str, device: torch.device) -> None:
    """Write the shards of this process, then wait for those of the others. Shards that are there
    already are kept."""
    folder, data, (rank, world) = (
        run.folder / "cache" / split / name,
        run.data(split, [name]),
        _processes(),
    )
    rows = data.present[:, 0].nonzero()[0]
    shards = [rows[start : start + SHARD_ROWS] for start in range(0, len(rows), SHARD_ROWS)]
    paths = shard_paths(folder, key, len(shards))
    mine = {
        path: shard
        for path, shard in list(zip(paths, shards, strict=True))[rank::world]
        if not path.is_file()
    }
    logger.info(
        "caching %d of %d rows of %s/%s", sum(map(len, mine.values())), len(rows), split, name
    )
    if mine:
        _write_shards(run, run.family.modality(name), data, mine, device)
    for path in paths:
        _wait(path.is_file, path)
    if rank == 0:
        finish_cache(folder, key, len(data), len(rows), len(shards))
    else:
        _wait(lambda: finished_key(folder) == key, folder)


def _wait(is_there: Callable[[], bool], path: Path) -> None:
    """For what another process writes. Files tell when it is there, because no collective may take
    hours."""
    start = time.monotonic()
    while not is_there():
        if time.monotonic() - start > PATIENCE:
            raise TimeoutError(
                f"{path} was not written in {PATIENCE:g} s: the process that computes it has "
                "failed. Rerun "
                "the same command, it goes on"
            )
        time.sleep(POLL)


class _Values:
    """Value batches of one modality of a split."""

    def __init__(self, data: PreparedDataset, modality: Modality) -> None:
        self.data, self.modality = data, modality

    def __getitem__(self, studies: np.ndarray) -> Any:
        return self.modality.collate(
            [study.values[self.modality.name] for study in self.data.batch(studies)]
        )


@torch.no_grad()
def _write_shards(
    run: Run,
    modality: Modality,
    data: PreparedDataset,
    shards: dict[Path, np.ndarray],
    device: torch.device,
) -> None:
    """`shards`: file -> the studies (R',) whose rows it gets."""
    autoencoder, space = run.autoencoder(modality.group).to(device), run.shared_space().to(device)
    size = run.recipe.data.cache_batch
    plan = [
        (path, rows[start : start + size])
        for path, rows in shards.items()
        for start in range(0, len(rows), size)
    ]
    values_of = batches(
        _Values(data, modality), [rows for _, rows in plan], run.recipe.data, device
    )

    def encode(values: Any) -> dict[str, torch.Tensor]:
        arrays = {"latents": autoencoder.encode(values)}
        if run.family.has_prompts:
            found = space.encode(modality.name, values)
            arrays |= {"embeds": found.embeds, "tokens": found.tokens, "mask": found.mask}
        return {name: array.cpu() for name, array in arrays.items()}

    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        for path, group in itertools.groupby(
            zip(plan, values_of, strict=True), key=lambda pair: pair[0][0]
        ):
            parts = [encode(values) for _, values in group]
            write_shard(
                path,
                shards[path],
                {name: torch.cat([part[name] for part in parts]) for name in parts[0]},
            )


@dataclass
class CachedBatch:
    """`latents[m]` (B, ...), `encodings[m]`, `present[m]` (B,) bool; rows that lack m hold zeros
    and are masked."""

    latents: dict[str, torch.Tensor]
    encodings: dict[str, PromptEncoding]
    present: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))

    def available(self, names: Sequence[str]) -> torch.Tensor:
        """(B, P) bool: which of the P `names`, perhaps none, each row has."""
        first = next(iter(self.present.values()))
        columns = [self.present[name][:, None] for name in names]
        return torch.cat([first.new_zeros(len(self), 0), *columns], dim=1)


class CachedStudies:
    """Studies of a split as CachedBatch: `latents` of the names in `outputs`, encodings of those in
    `prompts`."""

    def __init__(
        self,
        run: Run,
        split: str,
        outputs: Sequence[str],
        prompts: Sequence[str],
        least: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Keeps the studies that have at least `least` of the outputs. `device` computes what is
        not cached yet."""
        self.outputs, self.prompts = list(outputs), list(prompts)
        self.prompt_latents = run.recipe.diffusion.prompt_latents
        names = list(dict.fromkeys([*outputs, *prompts]))
        self.caches = {name: open_cache(run, split, name, device) for name in names}
        counts = np.sum([self.caches[name].present for name in self.outputs], axis=0)
        self.studies = (counts >= least).nonzero()[0]

    def __len__(self) -> int:
        return len(self.studies)

    def _rows(self, name: str, array: str, studies: np.ndarray) -> torch.Tensor:
        values, present = self.caches[name].gather(array, studies)
        return spread(values, torch.from_numpy(present))

    def __getitem__(self, indices: list[int]) -> CachedBatch:
        studies = self.studies[np.asarray(indices)]
        present = {n: torch.from_numpy(c.present[studies]) for n, c in self.caches.items()}
        latents = {
            n: self._rows(n, "latents", studies) for n in self.outputs if self.caches[n].names
        }
        encodings: dict[str, Any] = {}
        for n in self.prompts:
            if self.caches[n].names:
                arrays = (
                    ("embeds", "tokens", "mask", "latents")
                    if self.prompt_latents
                    else ("embeds", "tokens", "mask")
                )
                encodings[n] = PromptEncoding(*(self._rows(n, a, studies) for a in arrays))
        return CachedBatch(latents, encodings, present)
