"""`model_index.json`: what a pipeline folder holds, checked once when it is read.

A model folder is data that somebody else may have written. Nothing that stands in it is imported,
no path leads out of it, and whatever does not fit is one ValueError that names the file and the
key.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
from diffusers import SchedulerMixin

import medcodi
from medcodi.config import Recipe
from medcodi.config_io import build_dataclass, recipe_from_dict, to_dict, unknown_key
from medcodi.files import written
from medcodi.modalities.family import ModelFamily
from medcodi.pipeline.facts import Facts

INDEX, CLASS_NAME = "model_index.json", "MedCoDiPipeline"
RECIPE_PARTS = ("name", "seed", "modalities", "shared_space", "diffusion")
COMPONENTS = ("encoder", "autoencoder", "diffusion", "environment")
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
HASH = re.compile(r"[0-9a-f]{8,64}")
MAX_BYTES, LARGEST = 64 << 20, 1_000_000  # of the index; of a number that sizes a network


@dataclass(frozen=True)
class Index:
    """`weights` and `checksums` go by the file's path in the folder, `schedulers` by modality name;
    `facts` are what the model card tells, `version` is that of medcodi that wrote the folder."""

    recipe: Recipe
    assets: dict[str, dict[str, Any]]
    weights: dict[str, str]
    checksums: dict[str, str]
    schedulers: dict[str, str]
    facts: Facts = field(default_factory=Facts)
    version: str = "of an unknown version"

    @property
    def model_hash(self) -> str:
        """One hash for the whole pipeline, for manifests."""
        described = json.dumps(self.weights, sort_keys=True).encode()
        return hashlib.sha256(described).hexdigest()[:16]

    @property
    def names(self) -> list[str]:
        """Modalities whose networks are in the folder, in the order of the recipe."""
        return [name for name in self.recipe.modalities if name in self.schedulers]

    def files(self, kind: str, name: str) -> list[str]:
        """Weight files of a component."""
        return [path for path in self.weights if path.startswith(f"{kind}/{name}/")]

    def write(self, folder: Path) -> None:
        recipe = to_dict(self.recipe)
        told = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        told["facts"] = dataclasses.asdict(self.facts)
        told["recipe"] = {part: recipe[part] for part in RECIPE_PARTS}
        told["version"] = medcodi.__version__
        head = {"_class_name": CLASS_NAME, "_diffusers_version": diffusers.__version__}
        with written(folder / INDEX) as path:
            path.write_text(json.dumps(head | told, indent=1), encoding="utf-8")


def read_index(folder: Path) -> Index:
    """The checked index of a folder. Raises IncompleteFolderError, ValueError."""
    path = folder / INDEX
    if not path.exists() and not path.is_symlink():
        raise IncompleteFolderError(
            f"{folder} is no medcodi pipeline: {INDEX} is missing. Train one (`medcodi "
            "quickstart`, or the scripts in train/) or pass the folder that save_pretrained wrote"
        )
    document = read_json(folder, INDEX)
    if document.get("_class_name") != CLASS_NAME:
        raise ValueError(
            f"{path} describes a {document.get('_class_name')!r:.80}, expected {CLASS_NAME!r}"
        )
    values = {key: value for key, value in document.items() if not key.startswith("_")}
    if not isinstance(values.get("recipe"), dict):
        raise ValueError(f"{path}: recipe must be a mapping, got {_kind(values.get('recipe'))}")
    with of_version(str(values.get("version", Index.version))[:40]):
        with as_value_error(str(path), name_all=True):
            _check_sizes(values["recipe"], f"{path}: recipe")
            values["recipe"] = recipe_from_dict(values["recipe"], f"{path}: recipe")
            index = build_dataclass(Index, values, str(path))
        _check_whole(document["recipe"], index.recipe, f"{path}: recipe")
        _check(index, str(path))
    return index


@contextlib.contextmanager
def of_version(version: str) -> Iterator[None]:
    """Inside, a ValueError about a folder that another version of medcodi wrote says which."""
    try:
        yield
    except ValueError as error:
        if version == medcodi.__version__:
            raise
        told = f"{error}. medcodi {version} wrote the folder, this is {medcodi.__version__}"
        raise ValueError(told) from error


def family_of(index: Index, where: str) -> ModelFamily:
    """The networks that an index describes. ValueError where they cannot be."""
    with as_value_error(where, name_all=True):
        return ModelFamily(index.recipe, index.assets)


def _check_whole(given: dict[str, Any], recipe: Recipe, where: str) -> None:
    """ValueError for a key that is missing: its default may not be what the model was trained
    with."""
    expected = {part: value for part, value in to_dict(recipe).items() if part in RECIPE_PARTS}
    for part, value in expected.items():
        keys = value if isinstance(value, dict) and part != "modalities" else {}
        held = given.get(part) or {}
        for key in [part] if part not in given else [k for k in keys if k not in held]:
            raise ValueError(f"{where} is not whole: {key!r} is missing")


def _check(index: Index, where: str) -> None:
    names = set(index.recipe.modalities)
    for name in names:
        check_plain(name, f"{where}: recipe.modalities")
    for name in index.assets:
        if name not in names:
            raise unknown_key(name, names, f"{where}: assets")
    for name, class_name in index.schedulers.items():
        if name not in names:
            raise unknown_key(name, names, f"{where}: schedulers")
        scheduler_class(class_name, f"{where}: schedulers.{name}")
    if not index.schedulers:
        raise ValueError(f"{where}: schedulers names no modality: the folder holds nothing")
    for key in ("weights", "checksums"):
        for path, value in getattr(index, key).items():
            parts = path.split("/")
            if len(parts) not in (3, 4) or parts[0] not in COMPONENTS:
                raise ValueError(
                    f"{where}: {key}: {path!r} must read KIND/NAME/FILE, KIND one of {COMPONENTS}"
                )
            for part in parts:
                check_plain(part, f"{where}: {key}")
            if not HASH.fullmatch(value):
                raise ValueError(f"{where}: {key}.{path} must be a hash, got {value!r:.60}")
    if index.weights.keys() != index.checksums.keys():
        odd = sorted(index.weights.keys() ^ index.checksums.keys())
        raise ValueError(
            f"{where}: weights and checksums must name the same files; only one: {odd}"
        )


def check_components(index: Index, family: ModelFamily, where: str) -> None:
    """ValueError where a component that the modalities of the folder need has no weights."""
    groups = [family.modality(name).group for name in index.names]
    for group in groups:
        check_plain(group, f"{where}: group")
    kinds = ("encoder", "autoencoder") if family.has_prompts else ("autoencoder",)
    needed = [(kind, group) for kind in kinds for group in groups]
    needed += [("diffusion", name) for name in index.names]
    if any(path.startswith("environment/") for path in index.weights):
        needed += [("environment", name) for name in index.names]
    for kind, name in needed:
        if not index.files(kind, name):
            raise ValueError(f"{where}: weights has no file of {kind}/{name}")
    known = {f"{kind}/{name}" for kind, name in needed}
    for path in index.weights:
        component = "/".join(path.split("/")[:2])
        if component not in known:
            raise unknown_key(component, sorted(known), f"{where}: weights")


def scheduler_class(name: Any, where: str) -> type[SchedulerMixin]:
    """A scheduler class of diffusers by name. ValueError for anything else that diffusers holds."""
    found = (
        getattr(diffusers, name, None) if isinstance(name, str) and name.isidentifier() else None
    )
    if not (isinstance(found, type) and issubclass(found, SchedulerMixin)):
        raise ValueError(f"{where}: expected a scheduler class of diffusers, got {name!r:.60}")
    return found


def check_plain(name: Any, where: str) -> None:
    """ValueError for a name that is more than a file name: "..", "/", empty, odd characters."""
    if not isinstance(name, str) or not PLAIN.fullmatch(name):
        raise ValueError(
            f"{where}: {name!r:.80} is no plain name (letters, digits, '_', '-', '.', no folder)"
        )


def _check_sizes(value: Any, where: str) -> None:
    """ValueError for numbers that no network has: building it would not end."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key != "seed":
                _check_sizes(part, f"{where}.{key}")
    elif isinstance(value, list):
        for part in value:
            _check_sizes(part, where)
    elif isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{where} must lie within +-{LARGEST:,}, got {value!r:.40}")


class IncompleteFolderError(FileNotFoundError, ValueError):
    """A file that a pipeline folder needs is missing."""


def regular_file(folder: Path, relative: str, what: str = "file") -> Path:
    """The path of a file of the folder. IncompleteFolderError where it is missing; ValueError for
    what is no regular file (a pipe would never end) and for links that lead out of the folder."""
    path = folder / relative
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise IncompleteFolderError(
            f"no {what} at {path}: the pipeline folder is not whole"
        ) from None
    except OSError as error:  # a loop of links, a folder that is a file
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is no regular file")
    home, found = folder.resolve(), path.resolve()
    roots = [home]
    if home.parent.name == "snapshots":  # the hub's cache: files are links to ../../blobs
        roots.append(home.parent.parent / "blobs")
    if not any(found.is_relative_to(root) for root in roots):
        raise ValueError(f"{path} is a link that leads out of the pipeline folder")
    return path


def read_json(folder: Path, relative: str) -> dict[str, Any]:
    """A JSON object of the folder, with finite numbers. ValueError for anything else."""
    path = regular_file(folder, relative)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB")

    def refuse(constant: str) -> None:
        raise ValueError(f"holds {constant}")

    try:
        document = json.loads(path.read_bytes(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # also what is no UTF-8
        raise ValueError(f"{path} is no readable JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{path} must hold a mapping, got {_kind(document)}")
    return document


@contextlib.contextmanager
def as_value_error(where: str, name_all: bool = False) -> Iterator[None]:
    """Whatever foreign code raises about values of a model folder becomes a ValueError that says
    where they stand, also a panic of the tokenizers' Rust code. With `name_all`, ValueErrors that
    do not say so either."""
    try:
        yield
    except ValueError as error:
        if name_all and where not in str(error):
            raise ValueError(f"{where}: {error}") from error
        raise
    except FileNotFoundError:
        raise
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        said = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(f"{where} cannot be built: {type(error).__name__}: {said}") from error


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"
