"""Samples of another system, read from a folder instead of generated: `evaluation.samples: {"F>T":
FOLDER}`.

FOLDER/MODALITY/STUDY_ID.png    images (also 16-bit .png, or .npy with floats in [0, 1]), one a
held-out study
FOLDER/MODALITY.csv             reports, columns `id` and `text`
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.data.storage import Storage
from medcodi.data.study import Study
from medcodi.labeler.files import read_reports
from medcodi.metrics.images import as_float_images
from medcodi.sources.images import read_grey, safe_path, to_square

SHOWN = 3
SUFFIXES = (".png", ".npy")


def read_samples(
    folder: str | Path, name: str, storage: str, size: int, studies: Sequence[Study]
) -> list[Any]:
    """The values of modality `name` in `folder`, one for each of `studies`: texts, or float32
    images (size, size) in [0, 1].

    ValueError, with the name of the file, for studies without a sample or with two, for an image
    that cannot be read, has another size as .npy or holds NaN, for a link out of the folder, and
    for a csv without its columns; FileNotFoundError for the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of samples {folder} does not exist")
    ids = [study.study_id for study in studies]
    if storage == Storage.TEXT:
        texts = _texts(folder, name, ids)
        return [texts[study_id] for study_id in ids]
    if storage != Storage.IMAGE:
        raise ValueError(
            f"samples of {name!r} cannot be read from a folder: only images and reports can"
        )
    paths = _image_paths(folder, name, ids)
    return [_read_image(folder, paths[study_id], size) for study_id in ids]


def _texts(folder: Path, name: str, ids: list[str]) -> dict[str, str]:
    """id -> text of FOLDER/MODALITY.csv, for all of `ids`."""
    path = f"{name}.csv"
    if not (folder / path).exists():
        raise FileNotFoundError(f"folder of samples {folder} has no {path}")
    with_file = _inside(folder, path)
    rows = read_reports(with_file)
    wanted = rows[rows["id"].isin(ids)]
    twice = wanted["id"][wanted["id"].duplicated()]
    if len(twice):
        raise ValueError(f"{with_file} has the id {twice.iloc[0]!r} more than once")
    _check_whole(folder, name, ids, set(wanted["id"]))
    return dict(zip(wanted["id"], wanted["text"], strict=True))


def _image_paths(folder: Path, name: str, ids: list[str]) -> dict[str, str]:
    """study -> file, relative to `folder`, for all of `ids`."""
    wanted, found = set(ids), {}
    files = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
    for path in files:
        if path.suffix not in SUFFIXES or path.stem not in wanted:
            continue
        if path.stem in found:
            raise ValueError(
                f"{folder / found[path.stem]} and {path} are both of the study {path.stem!r}: "
                "keep one"
            )
        found[path.stem] = f"{name}/{path.name}"
    _check_whole(folder, name, ids, set(found))
    return found


def _check_whole(folder: Path, name: str, ids: list[str], found: set[str]) -> None:
    missing = [study_id for study_id in ids if study_id not in found]
    if missing:
        raise ValueError(
            f"{folder} has a {name} for {len(ids) - len(missing)} of {len(ids)} held-out studies; "
            f"it lacks {', '.join(missing[:SHOWN])}{', ...' if len(missing) > SHOWN else ''}"
        )


def _inside(folder: Path, relative: str) -> Path:
    """The regular file `relative` of `folder`. ValueError for a link that leaves the folder."""
    try:
        return safe_path(folder, relative)
    except ValueError as error:
        raise ValueError(f"{folder / relative}: {error}") from None


def _read_image(folder: Path, relative: str, size: int) -> np.ndarray:
    path = _inside(folder, relative)
    try:
        if path.suffix == ".npy":
            return as_float_images([_read_array(path, size)], str(path))[0]
        return to_square(read_grey(path), size)
    except (ValueError, OSError, EOFError) as error:
        told = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ValueError(told) from None


def _read_array(path: Path, size: int) -> np.ndarray:
    """The array of the file, whose shape is looked at before it takes memory."""
    array = np.lib.format.open_memmap(path, mode="r")
    if array.shape != (size, size):
        raise ValueError(f"expected an array of ({size}, {size}), got {array.shape}")
    return np.array(array)


def samples_identity(folders: Sequence[str]) -> list[Any]:
    """Names, sizes and times of the files, so that changed samples are measured again."""
    files = [
        path
        for folder in sorted(folders)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    ]
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
