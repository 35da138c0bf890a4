"""Recipes and other settings from YAML, strictly: an unknown key is an error with the near miss.

A recipe is dataclass < YAML < dotted override on the command line. OmegaConf stays in this file;
every other module sees plain dataclasses.
"""

import dataclasses
import difflib
import json
import types
import typing
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from medcodi.config import STAGES, TRACKERS, Recipe, StageConfig

OF_BASE = ("modalities", "shared_space", "diffusion")  # what a recipe of adapters does not say


def unknown_key(key: str, valid: typing.Iterable[str], where: str) -> ValueError:
    """The error for a key that nobody reads: names the place, the near miss and all valid names."""
    valid = sorted(valid)
    near = difflib.get_close_matches(key, valid, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return ValueError(f"unknown key {key!r:.80} in {where}{hint} Valid keys: {', '.join(valid)}")


def build_dataclass(cls: type, values: Any, where: str) -> Any:
    """Build dataclass `cls` from a plain dict or None, recursively and strictly; one that is built
    already is returned.

    Raises ValueError for an unknown key ("did you mean"), a missing required key and a value of the
    wrong type.
    """
    if isinstance(values, cls):
        return values
    values = dict(values or {})
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise unknown_key(key, fields, where)
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ValueError(
                f"missing key {name!r} in {where}. Valid keys: {', '.join(sorted(fields))}"
            )
    return cls(
        **{key: _convert(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    )


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if dataclasses.is_dataclass(value):
            return value
        if value is not None and not isinstance(value, dict):
            raise ValueError(f"{where} must be a mapping, got {value!r:.80}")
        return build_dataclass(hint, value, where)
    if origin is list:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} must be a list, got {value!r:.80}")
        return [_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be a mapping, got {value!r:.80}")
        return {str(k): _convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if hint is float:  # YAML 1.1 reads 1e-4 as a string
        try:
            return float("" if isinstance(value, bool) else value)
        except (TypeError, ValueError):
            raise ValueError(f"{where} must be a number, got {value!r:.80}") from None
    if hint in (int, str, bool) and type(value) is not hint:
        raise ValueError(f"{where} must be of type {hint.__name__}, got {value!r:.80}")
    return value


def _place_override(key: str, stage: str | None) -> str:
    """`optim.lr` on the command line of a stage script means `stage2.optim.lr`."""
    of_stage = stage and key.split(".")[0] in {f.name for f in dataclasses.fields(StageConfig)}
    return f"{stage}.{key}" if of_stage else key


def load_recipe(
    path: str | Path, overrides: typing.Sequence[str] = (), stage: str | None = None
) -> Recipe:
    """Load a recipe YAML and apply dotted overrides such as `optim.lr=1e-4` (relative to `stage`)
    or `seed=3`.

    An override wins over what the file says in general and by modality: with `num_steps=40`, a
    `per_modality.report.num_steps` of the file does not count. Raises ValueError for an unknown
    key, a malformed override or a wrong type; FileNotFoundError for the path.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"recipe {path} does not exist")
    loaded, pairs = OmegaConf.to_container(_load(Path(path))), []
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ValueError(f"an override must read key=value, got {text!r}")
        pairs.append(f"{_place_override(key, stage)}={value}")
    given = OmegaConf.to_container(OmegaConf.from_dotlist(pairs))
    for name in STAGES:
        section, own = loaded.get(name), given.get(name)
        if isinstance(section, dict):
            for settings in (section.get("per_modality") or {}).values():
                _drop(settings, own)
    merged = OmegaConf.to_container(OmegaConf.merge(loaded, given), resolve=True)
    return recipe_from_dict(_with_base(merged, str(path)), str(path))


def base_folder(base: str) -> Path:
    """`adapters.base`: the folder of a pipeline, or the name of one that comes with the package."""
    shipped = Path(__file__).parent / "shipped" / base
    return shipped if shipped.is_dir() and not Path(base).exists() else Path(base)


def _with_base(values: dict[str, Any], where: str) -> dict[str, Any]:
    """`values` with the parts that a recipe of adapters takes from its base. FileNotFoundError
    without that, ValueError for a part that differs from it."""
    base = (values.get("adapters") or {}).get("base")
    if not base:
        return values
    path = base_folder(base) / "model_index.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{where}.adapters.base: {path} does not exist, expected the folder of a pipeline, or "
            "the name of a shipped one"
        )
    told = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    for part in OF_BASE:
        if part in values and values[part] != told[part]:
            raise ValueError(
                f"{where}.{part} is not that of adapters.base: leave it out, adapters take it from "
                "there"
            )
    return {**values, **{part: told[part] for part in OF_BASE}}


def _drop(settings: Any, given: Any) -> None:
    """Remove from nested `settings` what `given` says, in place."""
    if not isinstance(settings, dict) or not isinstance(given, dict):
        return
    for key, value in given.items():
        if isinstance(value, dict) and isinstance(settings.get(key), dict):
            _drop(settings[key], value)
        else:
            settings.pop(key, None)


def recipe_from_dict(values: dict[str, Any], where: str = "recipe") -> Recipe:
    """Recipe from a plain dict, strictly; checks the names used across sections."""
    recipe = build_dataclass(Recipe, values, where)
    names = set(recipe.modalities)
    if not names:
        raise ValueError(f"{where}: a recipe needs at least one modality, it names none")
    for tracker in recipe.tracking:
        if tracker not in TRACKERS:
            raise unknown_key(tracker, TRACKERS, f"{where}.tracking")
    for pair in recipe.shared_space.bridging_pairs:
        _check_names(pair, names, f"{where}.shared_space.bridging_pairs")
        if len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError(
                f"{where}.shared_space.bridging_pairs: a pair is two different modalities, got "
                f"{pair}"
            )
    for stage in STAGES:
        section = getattr(recipe, stage)
        _check_names(
            [section.modality] if section.modality else [], names, f"{where}.{stage}.modality"
        )
        _check_names(section.per_modality, names, f"{where}.{stage}.per_modality")
        for name in section.per_modality:
            for_modality(section, name)
    return recipe


def _check_names(used: typing.Iterable[str], names: set[str], where: str) -> None:
    for name in used:
        if name not in names:
            raise unknown_key(name, names, where)


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Plain nested dict of a recipe (JSON and YAML safe)."""
    return dataclasses.asdict(recipe)


def save_yaml(values: dict[str, Any], path: str | Path) -> None:
    OmegaConf.save(OmegaConf.create(values), path)


def load_yaml(path: str | Path) -> dict[str, Any]:
    return OmegaConf.to_container(_load(Path(path)), resolve=True)


def _load(path: Path) -> DictConfig:
    """ValueError names the file when it is no YAML mapping."""
    try:
        loaded = OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException) as error:
        raise ValueError(f"{path} is not readable YAML: {_one_line(error)}") from None
    if not isinstance(loaded, DictConfig):
        raise ValueError(f"{path} must hold a mapping of keys, got a {type(loaded).__name__}")
    return loaded


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def for_modality(stage: StageConfig, name: str) -> StageConfig:
    """The stage section with its `per_modality.NAME` overrides merged in."""
    values = dataclasses.asdict(stage)
    merged = OmegaConf.merge(values, values["per_modality"].get(name, {}))
    return build_dataclass(StageConfig, OmegaConf.to_container(merged), f"per_modality.{name}")
