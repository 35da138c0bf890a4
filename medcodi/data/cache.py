"""Memory-mapped cache of what frozen networks computed (latents, prompt encodings): one folder per
(split, modality).

    FOLDER/meta.json                     key, number of studies, rows and shards: written last
    FOLDER/KEY/00000.safetensors, ...    SHARD_ROWS rows each, the studies that they belong to, a
    checksum an array

Rows exist only for the studies that have the modality. A shard is there whole or not at all, so
that any number of processes may write shards, and a computation that was killed goes on with those
that are there. KEY is the hash of what made the rows: a stale cache is refused. Legend: N studies
of the split, R rows (studies that have the modality).
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from medcodi.files import written

META, STUDIES = "meta.json", "studies"
SHARD_ROWS = (
    1024  # what a killed process computes again at most; 200 MB of a radiograph of 512 pixels
)


class StaleCacheError(ValueError):
    """The cache was made by other weights, arguments or data than those in use."""


def shard_paths(folder: str | Path, key: str, num_shards: int) -> list[Path]:
    return [Path(folder) / key / f"{index:05d}.safetensors" for index in range(num_shards)]


def write_shard(path: Path, studies: Sequence[int], arrays: Mapping[str, torch.Tensor]) -> None:
    """`studies` (R',) positions in the split, ascending; `arrays` name -> (R', ...), numbers or
    masks.

    Raises ValueError for another number of rows, studies that do not ascend and numbers that are
    not finite; OSError when the file cannot be written. Nothing stands at `path` then.
    """
    tensors = {STUDIES: torch.tensor(np.asarray(studies, np.int64))}
    tensors |= {name: array.detach().cpu().contiguous() for name, array in arrays.items()}
    if len(tensors[STUDIES]) == 0 or (tensors[STUDIES].diff() <= 0).any():
        raise ValueError(f"{path}: the studies of a shard must ascend, got {list(studies)[:8]}")
    for name, tensor in tensors.items():
        if len(tensor) != len(tensors[STUDIES]):
            raise ValueError(
                f"{path}, array {name!r}: expected {len(studies)} rows, got shape "
                f"{tuple(tensor.shape)}"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{path}, array {name!r}: holds a number that is not finite")
    try:
        with written(path) as temporary:
            sums = {name: _checksum(tensor) for name, tensor in tensors.items()}
            save_file(tensors, temporary, sums)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error


def finish_cache(
    folder: str | Path, key: str, num_studies: int, num_rows: int, num_shards: int
) -> None:
    """All shards are there: name them in `meta.json`, and remove what other keys left."""
    folder = Path(folder)
    meta = {"key": key, "num_studies": num_studies, "num_rows": num_rows, "num_shards": num_shards}
    with written(folder / META) as temporary:
        temporary.write_text(json.dumps(meta, indent=2))
    for path in folder.iterdir():
        if path.is_dir() and path.name != key:
            shutil.rmtree(path)


def finished_key(folder: str | Path) -> str | None:
    """Key of the cache in `folder`; None when there is none, or not all of it. ValueError when it
    is corrupted."""
    path = Path(folder) / META
    if not path.is_file():
        return None
    with _corrupted(path.parent, META):
        return str(json.loads(path.read_text())["key"])


def _checksum(tensor: torch.Tensor) -> str:
    """XXH3-128 of dtype, shape and bytes."""
    digest = xxhash.xxh3_128(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


class ArrayCache:
    """A finished cache, memory-mapped. `row_index` (N,) int64 (-1 = absent), `names` of its arrays,
    `key`."""

    def __init__(
        self, folder: Path, key: str, num_studies: int, shards: list[dict[str, torch.Tensor]]
    ) -> None:
        self.folder, self.key, self.shards = folder, key, shards
        self.names = sorted(set(shards[0]) - {STUDIES}) if shards else []
        self.row_index = np.full(num_studies, -1, dtype=np.int64)
        for number, shard in enumerate(shards):
            self.row_index[shard[STUDIES].numpy()] = number * SHARD_ROWS + np.arange(
                len(shard[STUDIES])
            )

    def __deepcopy__(self, memo: dict) -> "ArrayCache":
        return self  # files, which nobody writes to

    def __len__(self) -> int:
        return len(self.row_index)

    @property
    def present(self) -> np.ndarray:
        """(N,) bool: which studies have a row."""
        return self.row_index >= 0

    @classmethod
    def open(cls, folder: str | Path, key: str, checked: slice = slice(None)) -> "ArrayCache":
        """Open a finished cache made by what has the hash `key`. The shards in `checked` are read
        whole and compared with their checksums (default: all; processes that open a cache together
        share them out).

        Raises StaleCacheError when the hashes differ, ValueError when the folder is no cache or is
        corrupted.
        """
        folder = Path(folder)
        if not (folder / META).is_file():
            raise ValueError(
                f"no cache in {folder}: {META} is missing. Compute the cache of this split and "
                "modality first"
            )
        if (found := finished_key(folder)) != key:
            raise StaleCacheError(
                f"the cache in {folder} was made by {found}, in use is {key}: compute it again"
            )
        with _corrupted(folder, META):
            meta = json.loads((folder / META).read_text())
            num_studies, num_rows, num_shards = (
                int(meta[n]) for n in ("num_studies", "num_rows", "num_shards")
            )
        shards = []
        for number, path in enumerate(shard_paths(folder, key, num_shards)):
            with _corrupted(folder, path.name):
                shards.append(_read_shard(path, number in range(num_shards)[checked]))
        studies = torch.cat(
            [torch.empty(0, dtype=torch.int64), *(shard[STUDIES] for shard in shards)]
        )
        inside = (studies >= 0) & (studies < num_studies)
        if len(studies) != num_rows or not inside.all() or (studies.diff() <= 0).any():
            raise _damage(
                folder, f"its shards do not hold {num_rows} rows of {num_studies} studies"
            )
        return cls(folder, key, num_studies, shards)

    def gather(self, name: str, study_indices: Sequence[int]) -> tuple[torch.Tensor, np.ndarray]:
        """Rows (R', ...) of the studies in `study_indices` (B,) that have one, in their order, and
        the mask (B,) bool.

        A cache in which no study has the modality gives an empty tensor for every name.
        """
        indices = np.asarray(study_indices, dtype=np.int64)
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(
                f"{self.folder}: study indices must lie in [0, {len(self)}), got {indices.min()} "
                f"to {indices.max()}"
            )
        present = self.row_index[indices] >= 0
        if not self.shards:
            return torch.empty(0), present
        if name not in self.names:
            raise ValueError(
                f"{self.folder} has no array {name!r}. Valid names: {', '.join(self.names)}"
            )
        numbers, rows = np.divmod(self.row_index[indices[present]], SHARD_ROWS)  # (R',)
        gathered = self.shards[0][name].new_empty(len(rows), *self.shards[0][name].shape[1:])
        for number in np.unique(numbers):
            here = numbers == number
            gathered[torch.from_numpy(here)] = self.shards[number][name][
                torch.from_numpy(rows[here])
            ]
        return gathered, present


def _read_shard(path: Path, check: bool) -> dict[str, torch.Tensor]:
    """The arrays of a shard, mapped into memory: the file is not held open."""
    with safe_open(path, framework="pt") as file:
        checksums, shard = (
            file.metadata() or {},
            {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
        )
    if check:
        damaged = [name for name, tensor in shard.items() if _checksum(tensor) != checksums[name]]
        if damaged or STUDIES not in shard:
            raise ValueError(f"another checksum of {', '.join(damaged) or STUDIES}")
    return shard


def _damage(folder: Path, reason: str) -> ValueError:
    return ValueError(
        f"the cache in {folder} is corrupted: {reason}. Remove the folder, it is computed again"
    )


@contextlib.contextmanager
def _corrupted(folder: Path, filename: str) -> Iterator[None]:
    """ValueError that says what to do when `filename` cannot be read."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damage(folder, f"{filename} cannot be read ({error!r})") from None
