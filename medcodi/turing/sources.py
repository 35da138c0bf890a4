"""Where the items come from: real studies, and what was generated from them.

Real: a prepared folder, or a folder of files ID_NAME.png and ID_NAME.txt. Generated: a folder that
`medcodi generate` wrote (format png), whose manifest says by hash what each study was made from, or
a folder of files as above, where ID names the real study that it was made from.
"""

import functools
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medcodi.config_io import unknown_key
from medcodi.data.png import encode_image
from medcodi.data.prepared import INDEX, PreparedDataset
from medcodi.generation.formats.base import hash_prompts
from medcodi.generation.manifest import MANIFEST
from medcodi.turing.tasks import TEXT

Values = dict[str, Any]  # role -> PIL image or text


@dataclass
class RealStudy:
    """`read` gives the values by role; `key_of(roles)` is what a study that was generated from
    these values carries."""

    study_id: str
    roles: frozenset[str]
    read: Callable[[], Values]
    key_of: Callable[[tuple[str, ...]], set[str]]


@dataclass
class GeneratedStudy:
    """Files by role; `key` says what it was made from. `used` are the roles that items show
    already."""

    source: str
    key: str
    files: dict[str, Path]
    used: set[str] = field(default_factory=set)


def read_real(folder: Path, split: str, names: dict[str, str]) -> list[RealStudy]:
    """Real studies that have every role; `names`: role -> name in the data. ValueError where there
    is none."""
    found = (
        _of_prepared(folder, split, names)
        if (folder / INDEX).is_file()
        else _of_files(folder, names)
    )
    whole = [study for study in found if study.roles == set(names)]
    if not whole:
        raise ValueError(f"{folder}: no study has all of {', '.join(names.values())}")
    return whole


def _of_prepared(folder: Path, split: str, names: dict[str, str]) -> list[RealStudy]:
    fields = {
        spec["name"]: spec["storage"] for spec in json.loads((folder / INDEX).read_text())["fields"]
    }
    for role, name in names.items():
        if fields.get(name) != ("text" if role == TEXT else "image"):
            raise unknown_key(
                name,
                [n for n, s in fields.items() if s in ("text", "image")],
                f"fields of {folder}",
            )
    data = PreparedDataset.load(folder, split, list(names.values())).having(*names.values())

    def study(row: int) -> RealStudy:
        def stored() -> dict[str, Any]:
            values = data[row].values
            return {role: values[name] for role, name in names.items()}

        @functools.cache
        def key_of(roles: tuple[str, ...]) -> set[str]:
            values = stored()
            return {
                hash_prompts({names[role]: values[role] for role in roles}),
                data.study_ids[row],
            }

        def read() -> Values:
            return {role: v if role == TEXT else _picture(v) for role, v in stored().items()}

        return RealStudy(data.study_ids[row], frozenset(names), read, key_of)

    return [study(row) for row in range(len(data))]


def _picture(values: np.ndarray) -> Image.Image:
    """Float (H, W) in [0, 1] -> 16-bit grey image, as it is stored."""
    return Image.open(io.BytesIO(encode_image(values)))


def _of_files(folder: Path, names: dict[str, str]) -> list[RealStudy]:
    def study(study_id: str, files: dict[str, Path]) -> RealStudy:
        return RealStudy(
            study_id, frozenset(files), lambda: read_values(files), lambda roles: {study_id}
        )

    return [study(study_id, files) for study_id, files in _files_by_id(folder, names).items()]


def _files_by_id(folder: Path, names: dict[str, str]) -> dict[str, dict[str, Path]]:
    """ID -> role -> file, of ID_NAME.png and ID_NAME.txt."""
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} does not exist")
    found: dict[str, dict[str, Path]] = {}
    for role, name in names.items():
        ending = f"_{name}.txt" if role == TEXT else f"_{name}.png"
        for path in sorted(folder.rglob(f"*{ending}")):
            found.setdefault(path.name.removesuffix(ending), {})[role] = path
    return found


def read_generated(folder: Path, names: dict[str, str]) -> list[GeneratedStudy]:
    """Studies of one folder of generated ones. ValueError where it holds none."""
    manifest = folder / MANIFEST
    if manifest.is_file():
        told = json.loads(manifest.read_text(encoding="utf-8"))
        if told.get("format") != "png":
            raise ValueError(
                f"{folder} holds format {told.get('format')!r}; generate with --format png"
            )
        studies = []
        for sample in told["samples"]:
            files = {role: sample["files"].get(name) for role, name in names.items()}
            present = {role: folder / file["path"] for role, file in files.items() if file}
            key = told["prompt_hashes"][sample["prompt_row"]]
            studies.append(GeneratedStudy(f"{folder.name}/{sample['id']}", key, present))
    else:
        studies = [
            GeneratedStudy(f"{folder.name}/{key}", key, files)
            for key, files in _files_by_id(folder, names).items()
        ]
    studies = [study for study in studies if study.files]
    if not studies:
        raise ValueError(
            f"{folder} holds no generated {', '.join(names.values())} (and no {MANIFEST})"
        )
    return studies


def read_values(files: dict[str, Path]) -> Values:
    """ValueError names a file that cannot be read."""
    values: Values = {}
    for role, path in files.items():
        try:
            if role == TEXT:
                values[role] = path.read_text(encoding="utf-8")
            else:
                values[role] = Image.open(path)
                values[role].load()
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
    return values
