"""Pipelines on disk: `model_index.json` (the family) and one folder a component.

pipeline/
  README.md               model card
  model_index.json        recipe parts, fitted assets, scheduler classes, hash of every weight file
  encoder/GROUP/          prompt encoder          autoencoder/GROUP/
  diffusion/NAME/         fusion and denoiser     environment/NAME/
  scheduler/NAME/         a diffusers scheduler   tokenizer/NAME/     transformers' tokenizers

A network that diffusers or transformers know has a folder of its own inside its component's, see
`parts.py`.
"""

import contextlib
import copy
import dataclasses
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from diffusers import SchedulerMixin
from safetensors.torch import save_file
from torch import nn

from medcodi.files import sha256, staged, written
from medcodi.modalities.family import ModelFamily
from medcodi.nn.weights import (
    BUILDING,
    WEIGHTS,
    file_checksum,
    fill_module,
    read_weights,
    without_values,
)
from medcodi.pipeline.card import model_card
from medcodi.pipeline.facts import Facts
from medcodi.pipeline.index import (
    COMPONENTS,
    INDEX,
    Index,
    as_value_error,
    check_components,
    family_of,
    read_index,
    read_json,
    regular_file,
    scheduler_class,
)
from medcodi.pipeline.parts import prefixes, save_parts
from medcodi.pipeline.solvers import fit_scheduler

Components = dict[str, dict[str, nn.Module]]  # kind -> name -> network
CARD = "README.md"
OF_NAMES = ("diffusion", "environment")  # a network a modality; the others are one a group
SLACK = 10**9  # numbers of networks that are built for their shapes alone


def save_components(
    folder: Path,
    family: ModelFamily,
    components: Components,
    schedulers: dict[str, SchedulerMixin],
    facts: Facts,
    dtype: torch.dtype | None = None,
) -> Index:
    """Write a pipeline. Every component is whole before it takes the place of an older one. `dtype`
    rounds the weights as they are written."""
    for name, scheduler in schedulers.items():
        scheduler_class(type(scheduler).__name__, f"schedulers.{name}")
    folder.mkdir(parents=True, exist_ok=True)
    weights, checksums = {}, {}
    for kind, modules in components.items():
        for name, network in modules.items():
            module = network if dtype is None else copy.deepcopy(network).to(dtype=dtype)
            with staged(folder / kind / name, overwrite=True) as partial:
                held = save_parts(module, partial)
                state = {k: v for k, v in module.state_dict().items() if k not in held}
                save_file(
                    {k: v.detach().cpu().contiguous().clone() for k, v in state.items()},
                    partial / WEIGHTS,
                )
            for path in sorted((folder / kind / name).rglob("*.safetensors")):
                relative = path.relative_to(folder).as_posix()
                weights[relative], checksums[relative] = sha256(path)[:16], file_checksum(path)
    for name, scheduler in schedulers.items():
        scheduler.save_pretrained(folder / "scheduler" / name)
    for name in schedulers:
        shutil.rmtree(folder / "tokenizer" / name, ignore_errors=True)
        for file, tokenizer in family.modality(name).tokenizers().items():
            tokenizer.save_pretrained(folder / "tokenizer" / name / file)
    classes = {name: type(s).__name__ for name, s in schedulers.items()}
    index = Index(family.recipe, family.assets, weights, checksums, classes, facts)
    _write_index(folder, family, index)
    return index


def change_facts(folder: Path, facts: Facts) -> None:
    """Give a pipeline folder other facts and the model card that tells them; networks stay."""
    index = dataclasses.replace(read_index(folder), facts=facts)
    _write_index(folder, family_of(index, str(folder / INDEX)), index)


def _write_index(folder: Path, family: ModelFamily, index: Index) -> None:
    index.write(folder)
    with written(folder / CARD) as path:
        path.write_text(model_card(family, index), encoding="utf-8")


def load_components(
    folder: Path, index: Index, family: ModelFamily, names: Iterable[str]
) -> tuple[Components, dict[str, SchedulerMixin]]:
    """Components of the modalities `names`, strictly loaded and checked against the checksums of
    the index. Raises ValueError, FileNotFoundError."""
    names = list(names)
    check_components(index, family, str(folder / INDEX))
    coupled = any(path.startswith("environment/") for path in index.weights)
    build: dict[str, Callable[[str], nn.Module]] = {
        "encoder": family.build_prompt_encoder,
        "autoencoder": family.build_autoencoder,
        "diffusion": lambda name: family.build_diffusion(name, coupled=coupled),
        "environment": family.build_environment,
    }
    groups = list(dict.fromkeys(family.modality(n).group for n in names))
    keys = [(k, n) for k in COMPONENTS for n in (names if k in OF_NAMES else groups)]
    keys = [(kind, name) for kind, name in keys if index.files(kind, name)]
    paths = {
        f: regular_file(folder, f, "weights")
        for kind, name in keys
        for f in index.files(kind, name)
    }
    num_bytes = sum(path.stat().st_size for path in paths.values())
    components: Components = {kind: {} for kind in COMPONENTS}
    with ThreadPoolExecutor() as pool:
        checks = [pool.submit(_check, path, index.checksums[f]) for f, path in paths.items()]
        for kind, name in keys:
            where = f"{folder / kind / name}"
            with (
                as_value_error(where, name_all=True),
                _no_larger(4 * num_bytes + SLACK),
                without_values(),
            ):
                module = build[kind](name)
            module = _fill(module, where, {f: paths[f] for f in index.files(kind, name)})
            components[kind][name] = module.eval().requires_grad_(False)
        for check in checks:
            check.result()
    return components, {name: _load_scheduler(folder, index, family, name) for name in names}


def _fill(module: nn.Module, where: str, paths: dict[str, Path]) -> nn.Module:
    state: dict[str, torch.Tensor] = {}
    expected = prefixes(module)
    for relative, path in paths.items():
        below = "/".join(relative.split("/")[2:])
        if below not in expected:
            raise ValueError(f"{path} is not a part of this network: it has {sorted(expected)}")
        state |= {f"{expected[below]}{key}": value for key, value in read_weights(path).items()}
    return fill_module(module, state, where)


def _check(path: Path, expected: str) -> None:
    """ValueError for a weights file that is not the one of the index."""
    if file_checksum(path) != expected:
        raise ValueError(f"{path.parent} is not what {INDEX} describes: its weights hash differs")


def _load_scheduler(folder: Path, index: Index, family: ModelFamily, name: str) -> SchedulerMixin:
    relative = f"scheduler/{name}/scheduler_config.json"
    config, where = read_json(folder, relative), str(folder / relative)
    found = scheduler_class(index.schedulers[name], str(folder / INDEX))
    if config.get("_class_name") != index.schedulers[name]:
        raise ValueError(
            f"{where} describes a {config.get('_class_name')!r}, but {INDEX} a "
            f"{index.schedulers[name]!r}"
        )
    with as_value_error(where, name_all=True):
        return fit_scheduler(found.from_config(config), family.objective.scheduler())


@contextlib.contextmanager
def _no_larger(count: int) -> Iterator[None]:
    """Inside, networks of more than `count` numbers are refused while they are built: a recipe that
    was changed could describe one that never ends."""
    with BUILDING:
        yield from _counting(count)


def _counting(left: int) -> Iterator[None]:
    register = nn.Module.register_parameter

    def counted(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        nonlocal left
        left -= 0 if value is None else math.prod(value.shape)
        if left < 0:
            raise ValueError("the recipe describes larger networks than the weight files hold")
        register(module, name, value)

    nn.Module.register_parameter = counted
    try:
        yield
    finally:
        nn.Module.register_parameter = register
