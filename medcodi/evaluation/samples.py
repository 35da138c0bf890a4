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
from PIL import Image

from medcodi.data.study import Study
from medcodi.labeler.files import read_reports
from medcodi.metrics.images import as_float_images
from medcodi.modalities.image import image_to_array

SHOWN = 3


def read_samples(
    folder: str | Path, name: str, storage: str, size: int, studies: Sequence[Study]
) -> list[Any]:
    """The values of modality `name` in `folder`, one for each of `studies`.

    ValueError for studies without a sample, NaN images and a csv without its columns,
    FileNotFoundError for the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of samples {folder} does not exist")
    if storage == "text":
        rows = read_reports(folder / f"{name}.csv")
        found = dict(zip(rows["id"], rows["text"], strict=True))
    elif storage == "image":
        paths = sorted((folder / name).glob("*")) if (folder / name).is_dir() else []
        found = {path.stem: path for path in paths if path.suffix in (".png", ".npy")}
    else:
        raise ValueError(
            f"samples of {name!r} cannot be read from a folder: only images and reports can"
        )
    ids = [study.study_id for study in studies]
    missing = [study_id for study_id in ids if study_id not in found]
    if missing:
        raise ValueError(
            f"{folder} has a {name} for {len(ids) - len(missing)} of {len(ids)} held-out studies; "
            "it lacks "
            f"{', '.join(missing[:SHOWN])}{', ...' if len(missing) > SHOWN else ''}"
        )
    if storage == "text":
        return [found[study_id] for study_id in ids]
    return list(
        as_float_images(
            [_read_image(found[study_id], size) for study_id in ids], f"{folder / name}"
        )
    )


def _read_image(path: Path, size: int) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    with Image.open(path) as image:
        return image_to_array(image, size)


def samples_identity(folders: Sequence[str]) -> list[Any]:
    """Names, sizes and times of the files, so that changed samples are measured again."""
    files = [
        path
        for folder in sorted(folders)
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    ]
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
