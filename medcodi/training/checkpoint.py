"""Checkpoints for exact resume: written to a temporary name, then renamed; read without pickled code."""

import errno
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)
STATE, META = "state.pt", "meta.json"

# what torch.save (its zip writer loses the errno) and safetensors say when a write comes short
WRITE_FAILED = ("file write failed", "unexpected pos", "No space left on device", "File too large", "quota exceeded")


class CheckpointError(RuntimeError):
    """A checkpoint or an export could not be written, or is damaged; the others are untouched."""


def write_error(path: Path, error: Exception, folder: Path) -> CheckpointError:
    """The CheckpointError for `error` while writing `path`; `folder` holds the checkpoints."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    full = full or any(text in str(error) for text in WRITE_FAILED)
    kept = checkpoints(folder)
    return CheckpointError(
        f"could not write {path}: {'the disk is full (or a quota is reached)' if full else error}. "
        f"The last good checkpoint is {kept[-1].name if kept else 'none'}; free space and rerun the same command to "
        "go on."
    )


def trainable_state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [p for p in folder.glob("step_*") if p.is_dir() and not p.name.endswith(".tmp")]
    return sorted(found, key=lambda p: int(p.name.split("_")[1]))


def save_checkpoint(folder: Path, step: int, fingerprint: str, state: dict[str, Any], keep: int) -> Path:
    """Write `state` (`model`, `optimizer`, `ema`: whole tensors) to `folder/step_N`, then drop all but the `keep` newest.
    CheckpointError when the disk is full."""
    final = folder / f"step_{step}"
    temporary = folder / f"step_{step}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        torch.save(state, temporary / STATE)
        with open(temporary / STATE, "rb") as file:
            os.fsync(file.fileno())
        meta = {"step": step, "fingerprint": fingerprint, "sha256": _sha256(temporary / STATE)}
        (temporary / META).write_text(json.dumps(meta))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise write_error(final, error, folder) from error
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(folder: Path, fingerprint: str, module: nn.Module) -> tuple[int, dict[str, Any] | None]:
    """Step and state of the newest checkpoint below `folder`, its weights put into `module`; (0, None) without one.

    Raises ValueError for a checkpoint of another recipe, CheckpointError (with the file) for a damaged one.
    """
    found = checkpoints(folder)
    if not found:
        return 0, None
    meta, state = _read(found, fingerprint)
    parameters = trainable_state(module)
    if set(parameters) != set(state["model"]):
        raise ValueError(f"checkpoint {found[-1]} holds other parameters than this stage trains")
    with torch.no_grad():
        for name, value in state["model"].items():
            parameters[name].copy_(value)
    logger.info("resuming %s at step %d", folder.parent, meta["step"])
    return meta["step"], state


def _read(found: list[Path], fingerprint: str) -> tuple[dict[str, Any], dict[str, Any]]:
    path = found[-1] / META
    try:
        meta = json.loads(path.read_text())
        made_by, digest = meta["fingerprint"], meta.get("sha256")  # absent in checkpoints that are older than the check
        if made_by != fingerprint:
            raise ValueError(
                f"checkpoint {found[-1]} was made by another recipe (fingerprint {made_by}, this one is {fingerprint}): "
                f"change the recipe's name, restore the recipe, or remove the folder {found[-1].parents[1]}"
            )
        path = found[-1] / STATE
        if digest and _sha256(path) != digest:
            raise RuntimeError("its SHA-256 is not the one in meta.json")
        return meta, torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, KeyError, json.JSONDecodeError) as error:
        before = f"resume from {found[-2].name}" if len(found) > 1 else "begin the stage anew"
        raise CheckpointError(f"{path} is damaged ({error}): remove {found[-1]} to {before}") from error
