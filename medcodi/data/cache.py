"""Memory-mapped cache of what frozen networks computed (latents, prompt encodings): one folder per (split, modality).

Rows exist only for the studies that have the modality; `row_index.npy` maps a study to its row. A cache is keyed by the
hash of the weights that made it, so a stale one is refused. Legend: N studies of the split, R rows (studies that have
the modality).
"""

import contextlib
import json
import os
import shutil
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

META, ROW_INDEX = "meta.json", "row_index.npy"


class StaleCacheError(ValueError):
    """The cache was made by other weights than the ones in use."""


@contextlib.contextmanager
def staged_folder(folder: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling folder that becomes `folder` by one rename when the block ends well, and is removed
    when it fails.

    Raises ValueError when `folder` exists already and `overwrite` is off (with it on, the old folder lives until the
    new one is whole).
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise ValueError(f"{folder} exists already: choose another folder, remove it, or pass overwrite=True")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
            folder.rename(old)
            partial.rename(folder)
            shutil.rmtree(old)
        else:
            partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


class _ArrayFile:
    """A .npy file that grows by appended rows; its header is rewritten with the final count by `finish`."""

    def __init__(self, path: Path, first: np.ndarray) -> None:
        self.row_shape, self.dtype, self.num_rows = first.shape[1:], first.dtype, 0
        self.file = open(path, "wb")  # noqa: SIM115 (closed by finish, or by the writer on an error)
        self.header_bytes = self._write_header()

    def _write_header(self) -> int:
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.num_rows, *self.row_shape),
        }
        np.lib.format.write_array_header_1_0(self.file, header)
        return self.file.tell()

    def append(self, rows: np.ndarray) -> None:
        self.file.write(rows.tobytes())
        self.num_rows += len(rows)

    def finish(self) -> None:
        self.file.seek(0)
        # numpy pads the header for a growing first axis, so the final count fits in place
        assert self._write_header() == self.header_bytes, "the .npy header changed its length"
        self.file.close()


class CacheWriter:
    """Writes a cache in a stream; nothing stands under `folder` until the block ends well.

        with CacheWriter(folder, num_studies, key) as writer:
            writer.append([0, 2], latents=latents)  # (2, C, H, W)

    Raises ValueError for a study out of range or written twice, arrays whose names, shape or dtype change, non-finite
    numbers.
    """

    def __init__(self, folder: str | Path, num_studies: int, key: str, overwrite: bool = True) -> None:
        self.folder, self.num_studies, self.key = Path(folder), num_studies, key
        self.overwrite = overwrite
        self.row_index = np.full(num_studies, -1, dtype=np.int64)  # (N,)
        self.num_rows = 0
        self.files: dict[str, _ArrayFile] = {}

    def __enter__(self) -> "CacheWriter":
        self._stack = contextlib.ExitStack()
        self.partial = self._stack.enter_context(staged_folder(self.folder, self.overwrite))
        self._stack.callback(self._close_files)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        with self._stack:
            if error is not None:
                raise error
            self._finish()

    def append(self, study_indices: Sequence[int], **arrays: Any) -> None:
        """`study_indices` (R',) positions in the split; every array or tensor (R', ...), the same names each time."""
        indices = np.asarray(study_indices, dtype=np.int64)
        if not arrays:
            raise ValueError(f"{self.folder}: append needs at least one named array")
        if len(indices) == 0:
            return
        self._check_indices(indices)
        values = {name: _to_numpy(value) for name, value in arrays.items()}
        if self.files and set(values) != set(self.files):
            raise ValueError(
                f"{self.folder}: append got arrays {sorted(values)}, the first append had {sorted(self.files)}"
            )
        for name, value in values.items():
            self._check_array(name, value, len(indices))
        for name, value in values.items():
            if name not in self.files:
                self.files[name] = _ArrayFile(self.partial / f"{name}.npy", value)
            self.files[name].append(value)
        self.row_index[indices] = np.arange(self.num_rows, self.num_rows + len(indices))
        self.num_rows += len(indices)

    def _check_indices(self, indices: np.ndarray) -> None:
        if indices.min() < 0 or indices.max() >= self.num_studies:
            raise ValueError(
                f"{self.folder}: study indices must lie in [0, {self.num_studies}), "
                f"got {indices.min()} to {indices.max()}"
            )
        if len(np.unique(indices)) < len(indices) or (self.row_index[indices] >= 0).any():
            raise ValueError(f"{self.folder}: a study is written twice, among the indices {indices.tolist()[:8]}")

    def _check_array(self, name: str, value: np.ndarray, num_rows: int) -> None:
        if value.ndim < 1 or len(value) != num_rows:
            raise ValueError(f"{self.folder}, array {name!r}: expected {num_rows} rows, got shape {value.shape}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"{self.folder}, array {name!r}: holds a number that is not finite")
        known = self.files.get(name)
        if known and (value.shape[1:] != known.row_shape or value.dtype != known.dtype):
            raise ValueError(
                f"{self.folder}, array {name!r}: expected rows {known.row_shape} {known.dtype}, "
                f"got {value.shape[1:]} {value.dtype}"
            )

    def _finish(self) -> None:
        for file in self.files.values():
            file.finish()
        np.save(self.partial / ROW_INDEX, self.row_index)
        arrays = {n: {"shape": [f.num_rows, *f.row_shape], "dtype": str(f.dtype)} for n, f in self.files.items()}
        meta = {"key": self.key, "num_studies": self.num_studies, "num_rows": self.num_rows, "arrays": arrays}
        (self.partial / META).write_text(json.dumps(meta, indent=2))

    def _close_files(self) -> None:
        for file in self.files.values():
            with contextlib.suppress(OSError):
                file.file.close()


def _to_numpy(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    value = np.asarray(value)
    if value.dtype.kind not in "fiub":
        raise ValueError(f"a cache holds numbers and masks, got dtype {value.dtype}")
    return value


class ArrayCache:
    """A finished cache, memory-mapped. `row_index` (N,) int64 (-1 = absent), `arrays` name -> (R, ...), `meta`."""

    def __init__(
        self, folder: Path, meta: dict[str, Any], row_index: np.ndarray, arrays: dict[str, np.ndarray]
    ) -> None:
        self.folder, self.meta, self.row_index, self.arrays = folder, meta, row_index, arrays

    def __len__(self) -> int:
        return len(self.row_index)

    @property
    def present(self) -> np.ndarray:
        """(N,) bool: which studies have a row."""
        return self.row_index >= 0

    @classmethod
    def open(cls, folder: str | Path, key: str | None) -> "ArrayCache":
        """Open a cache made by weights with hash `key` (None skips the check).

        Raises StaleCacheError when the hashes differ, ValueError when the folder is no cache or is corrupted.
        """
        folder = Path(folder)
        if not (folder / META).is_file():
            raise ValueError(
                f"no cache in {folder}: {META} is missing. Compute the cache of this split and modality first"
            )
        try:
            meta = json.loads((folder / META).read_text())
            num_studies, num_rows, described = meta["num_studies"], meta["num_rows"], meta["arrays"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"the cache in {folder} is corrupted: {META} cannot be read ({error!r})") from None
        if key is not None and meta["key"] != key:
            raise StaleCacheError(
                f"the cache in {folder} was made by weights {meta['key']}, the weights in use are {key}: "
                "compute it again"
            )
        row_index = np.array(_map_array(folder, ROW_INDEX, (num_studies,), "int64"))
        arrays = {n: _map_array(folder, f"{n}.npy", tuple(a["shape"]), a["dtype"]) for n, a in described.items()}
        if (row_index >= 0).sum() != num_rows or (num_studies and row_index.max() >= num_rows):
            raise ValueError(f"the cache in {folder} is corrupted: {ROW_INDEX} does not fit {num_rows} rows")
        return cls(folder, meta, row_index, arrays)

    def gather(self, name: str, study_indices: Sequence[int]) -> tuple[torch.Tensor, np.ndarray]:
        """Rows (R', ...) of the studies in `study_indices` (B,) that have one, in their order, and the mask (B,) bool.

        A cache in which no study has the modality gives an empty tensor for every name.
        """
        indices = np.asarray(study_indices, dtype=np.int64)
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(
                f"{self.folder}: study indices must lie in [0, {len(self)}), got {indices.min()} to {indices.max()}"
            )
        rows = self.row_index[indices]  # (B,)
        present = rows >= 0
        if not self.arrays:
            return torch.empty(0), present
        if name not in self.arrays:
            raise ValueError(f"{self.folder} has no array {name!r}. Valid names: {', '.join(sorted(self.arrays))}")
        return torch.from_numpy(np.array(self.arrays[name][rows[present]])), present  # (R', ...)


def _map_array(folder: Path, filename: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Map a .npy file after checking its header and its size against what the cache says."""
    path = folder / filename
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            found_shape, _, found_dtype = np.lib.format.read_array_header_1_0(file)
            expected = file.tell() + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"the cache in {folder} is corrupted: {filename} cannot be read ({error})") from None
    if found_shape != shape or found_dtype != np.dtype(dtype):
        raise ValueError(
            f"the cache in {folder} is corrupted: {filename} is {found_shape} {found_dtype}, expected {shape} {dtype}"
        )
    if path.stat().st_size != expected:
        raise ValueError(
            f"the cache in {folder} is corrupted: {filename} has {path.stat().st_size} bytes, expected {expected}"
        )
    if 0 in shape:
        return np.empty(shape, dtype)
    return typing.cast(np.ndarray, np.load(path, mmap_mode="r"))
