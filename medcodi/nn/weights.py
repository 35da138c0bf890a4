"""Weights on disk: one folder a module, `model.safetensors` and `config.json`. Loads are strict;
nothing is pickled."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors.torch import load_file, save_file
from torch import nn

from medcodi.files import sha256, staged

WEIGHTS, CONFIG = "model.safetensors", "config.json"
# who changes how networks are built, for all threads, holds this
BUILDING = threading.RLock()
INITIALISERS = (
    "uniform_",
    "normal_",
    "trunc_normal_",
    "constant_",
    "ones_",
    "zeros_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "xavier_uniform_",
    "xavier_normal_",
)


def save_module(module: nn.Module, folder: str | Path, config: dict[str, Any]) -> None:
    """Write the state and `config` of a module to `folder`, through a temporary name: a save that
    fails leaves what was there before."""
    with staged(folder, overwrite=True) as temporary:
        state = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
        save_file(state, temporary / WEIGHTS)
        (temporary / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True))


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Inside, new modules hold their parameters and persistent buffers on the meta device, where
    torch.nn.init leaves them alone: no memory, no random numbers. `load_module` gives them values.
    Buffers that a file does not hold are made as ever."""
    with BUILDING:
        yield from _without_values()


def _without_values() -> Iterator[None]:
    register_parameter, register_buffer = nn.Module.register_parameter, nn.Module.register_buffer

    def parameter(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        # one that is on meta already may be tied: it stays itself
        if value is not None and not value.is_meta:
            value = nn.Parameter(value.to("meta"), requires_grad=value.requires_grad)
        register_parameter(module, name, value)

    def buffer(
        module: nn.Module, name: str, tensor: torch.Tensor | None, persistent: bool = True
    ) -> None:
        register_buffer(
            module,
            name,
            tensor.to("meta") if persistent and tensor is not None else tensor,
            persistent,
        )

    def leaving_meta(initialise: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return lambda tensor, *args, **kwargs: (
            tensor if tensor.is_meta else initialise(tensor, *args, **kwargs)
        )

    initialisers = {name: getattr(nn.init, name) for name in INITIALISERS}
    nn.Module.register_parameter, nn.Module.register_buffer = parameter, buffer
    for name, initialise in initialisers.items():
        setattr(nn.init, name, leaving_meta(initialise))
    try:
        yield
    finally:
        nn.Module.register_parameter, nn.Module.register_buffer = (
            register_parameter,
            register_buffer,
        )
        for name, initialise in initialisers.items():
            setattr(nn.init, name, initialise)


def load_module(module: nn.Module, folder: str | Path) -> nn.Module:
    """Load weights strictly, see `fill_module`. FileNotFoundError names the folder."""
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    return fill_module(module, read_weights(path), path)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, mapped into memory. ValueError where it is none."""
    try:
        return load_file(path)
    except Exception as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def fill_module(module: nn.Module, state: dict[str, torch.Tensor], where: str | Path) -> nn.Module:
    """Give a module the values of `state`, which came from `where`, strictly. ValueError names
    missing, unexpected and misshapen keys, and numbers of another kind.

    A module built `without_values` gets the tensors themselves: nothing is copied, and changes stay
    in memory. Parameters that are shared in the module (tied) stay shared.
    """
    _check_fit(module.state_dict(), state, where)
    if not any(x.is_meta for x in module.state_dict().values()):
        module.load_state_dict(state, strict=True)
        return module
    owners = dict(module.named_modules(remove_duplicate=False))
    # id of the parameter on the meta device -> the one that takes its places
    given: dict[int, nn.Parameter] = {}
    for name, tensor in state.items():
        owner_name, _, attribute = name.rpartition(".")
        owner = owners[owner_name]
        old = owner._parameters.get(attribute)
        if old is None:
            owner._buffers[attribute] = tensor
        else:
            owner._parameters[attribute] = given.setdefault(
                id(old), nn.Parameter(tensor, requires_grad=old.requires_grad)
            )
    return module


def _check_fit(
    expected: dict[str, torch.Tensor], state: dict[str, torch.Tensor], where: str | Path
) -> None:
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    both = sorted(expected.keys() & state.keys())
    shapes = [
        f"{k}: file {tuple(state[k].shape)}, model {tuple(expected[k].shape)}"
        for k in both
        if state[k].shape != expected[k].shape
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"{where} does not fit this recipe. Missing keys: {missing[:5]} ({len(missing)}). "
            f"Unexpected keys: {unexpected[:5]} ({len(unexpected)}). Other shapes: {shapes[:5]} "
            f"({len(shapes)})."
        )
    kinds = [k for k in both if state[k].is_floating_point() != expected[k].is_floating_point()]
    if kinds:
        raise ValueError(
            f"{where} holds numbers of another kind than this recipe: {kinds[0]} is "
            f"{state[kinds[0]].dtype}, expected {expected[kinds[0]].dtype}"
        )


def load_config(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"no {CONFIG} in {folder}")
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a mapping, got a {type(config).__name__}")
    return config


def weights_hash(folder: str | Path) -> str:
    """SHA-256 (first 16 hex digits) of the weights file of a folder."""
    return sha256(Path(folder) / WEIGHTS)[:16]


def checksum(folder: str | Path) -> str:
    """`file_checksum` of the weights file of a folder."""
    return file_checksum(Path(folder) / WEIGHTS)


def file_checksum(path: str | Path) -> str:
    """XXH3-128 of a file: tells damaged and mixed-up files, about as fast as they can be read."""
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()
