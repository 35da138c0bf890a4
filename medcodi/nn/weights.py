"""Weights on disk: one folder a module, `model.safetensors` and `config.json`. Loads are strict; nothing is pickled."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def save_module(module: nn.Module, folder: str | Path, config: dict[str, Any]) -> None:
    """Write the state and `config` of a module to `folder`, through a temporary name: a save that fails leaves what was
    there before."""
    folder = Path(folder)
    temporary, previous = folder.with_name(folder.name + ".tmp"), folder.with_name(folder.name + ".previous")
    for leftover in (temporary, previous):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        state = {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}
        save_file(state, temporary / WEIGHTS)
        (temporary / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True))
        if folder.exists():
            os.replace(folder, previous)
        os.replace(temporary, folder)
    except BaseException:
        if previous.exists() and not folder.exists():
            os.replace(previous, folder)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def load_module(module: nn.Module, folder: str | Path) -> nn.Module:
    """Load weights strictly. ValueError names missing, unexpected and misshapen keys; FileNotFoundError the folder."""
    path = Path(folder) / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        state = load_file(path)
    except Exception as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    expected = module.state_dict()
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    shapes = [
        f"{k}: file {tuple(state[k].shape)}, model {tuple(expected[k].shape)}"
        for k in sorted(expected.keys() & state.keys())
        if state[k].shape != expected[k].shape
    ]
    if missing or unexpected or shapes:
        raise ValueError(
            f"{path} does not fit this recipe. Missing keys: {missing[:5]} ({len(missing)}). "
            f"Unexpected keys: {unexpected[:5]} ({len(unexpected)}). Other shapes: {shapes[:5]} ({len(shapes)})."
        )
    module.load_state_dict(state, strict=True)
    return module


def load_config(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"no {CONFIG} in {folder}")
    return json.loads(path.read_text())


def weights_hash(folder: str | Path) -> str:
    """SHA-256 (first 16 hex digits) of the weights file of a folder."""
    digest = hashlib.sha256()
    with open(Path(folder) / WEIGHTS, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()[:16]
