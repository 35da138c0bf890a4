"""Files and folders are written whole or not at all: under a temporary name beside, then renamed.

    with written(path) as temporary:
        temporary.write_text(text)
    with staged(folder) as temporary:
        ...                              # fill the folder

A block that fails leaves what was there before. What a killed process left behind goes with the
next write of the same path on the same host.
"""

import contextlib
import glob
import hashlib
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError


@contextlib.contextmanager
def written(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what is written there becomes `path` by one rename when
    the block ends well. Missing parent folders are made. OSError where that cannot be done,
    ValueError for a folder, a device or a pipe, which a rename would replace."""
    path = Path(path)
    _check_is_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """`text` (UTF-8) becomes the file `path`, whole or not at all. OSError where that cannot be
    done."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def staged(folder: str | Path, overwrite: bool = False, durable: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside `folder` that becomes `folder` by one rename when the block ends
    well. `overwrite` replaces a folder that exists: the old one lives until the new one is whole.
    With `durable` the files are on the disk (fsync) before the rename.

    Raises ValueError when `folder` exists and `overwrite` is off, or when it is no folder; OSError
    where the disk takes no more.
    """
    folder = Path(folder)
    _check_is_folder(folder)
    if folder.exists() and not overwrite:
        raise ValueError(
            f"{folder} exists already: choose another folder, remove it, or pass overwrite=True"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(folder)
    temporary.mkdir()
    try:
        yield temporary
        if durable:
            for path in (*temporary.iterdir(), temporary):
                sync(path)
        _put(temporary, folder)
        if durable:
            sync(folder.parent)
    except SafetensorError as error:  # no OSError, whatever the disk said
        raise OSError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, folder: Path) -> None:
    """`temporary` becomes `folder`; an old `folder` comes back when that fails."""
    if not folder.exists():
        os.replace(temporary, folder)
        return
    old = temporary.with_name(f"{temporary.name}-old")
    os.replace(folder, old)
    try:
        os.replace(temporary, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_file(path: str | Path) -> None:
    """Raises ValueError where no file can stand under `path`: a folder, a device or a pipe does;
    else as `check_folder`."""
    path = Path(path)
    _check_is_file(path)
    _check_place(path, path.parent)


def check_folder(path: str | Path) -> None:
    """Raises ValueError where no folder can stand under `path`, or none be written to: there is
    something else, on the way to it too, or the place takes no new entries. Nothing is left
    behind. OSError for a name that cannot be."""
    path = Path(path)
    _check_is_folder(path)
    _check_place(path, path)


def _check_is_file(path: Path) -> None:
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise ValueError(f"output {path} is {what}: name a file")


def _check_is_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise ValueError(f"output {path} exists already and is no folder: choose another name")


def _check_place(path: Path, place: Path) -> None:
    """Try to make an entry in the nearest folder of `place` that exists: rights alone say little
    to the superuser."""
    while not place.exists():
        if place.is_symlink():
            raise ValueError(f"output {path}: {place} is a link to nothing")
        place = place.parent
    if not place.is_dir():
        raise ValueError(f"output {path}: {place} is no folder")
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".tmp-", dir=place))
    except OSError as error:
        raise ValueError(
            f"output {path}: nothing can be made in {place} ({error.strerror})"
        ) from None


def sync(path: Path) -> None:
    """What was written to a file or folder is on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path) -> Path:
    """A hidden name beside `path` that is this process's own and keeps the suffix (some writers add
    one otherwise). Removes those of processes of this host that are gone."""
    mine = f".tmp-{socket.gethostname()}-"
    for left in path.parent.glob(f"{mine}*-{glob.escape(path.name)}"):
        process = left.name.removeprefix(mine).split("-")[0]
        if process.isdecimal() and (int(process) == os.getpid() or not _runs(int(process))):
            _remove(left)
    return path.with_name(f"{mine}{os.getpid()}-{path.name}")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def jsonable(value: Any) -> Any:
    """Plain JSON values: dataclasses become dicts, numpy and torch values numbers and lists,
    NaN and infinity null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
