"""Checkpoints for exact resume: written to a temporary name, then renamed; read without pickled code."""

import errno
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medcodi.training.ema import EMA

logger = logging.getLogger(__name__)


# what torch.save (its zip writer loses the errno) and safetensors say when a write comes short
WRITE_FAILED = ("file write failed", "unexpected pos", "No space left on device", "File too large", "quota exceeded")


class CheckpointError(RuntimeError):
    """A checkpoint or an export could not be written; the previous checkpoint is untouched."""


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


def save_checkpoint(
    folder: Path, step: int, fingerprint: str, module: nn.Module, optimizer: torch.optim.Optimizer, ema: EMA, keep: int
) -> Path:
    """Write `folder/step_N`, then drop all but the `keep` newest. CheckpointError when the disk is full."""
    final = folder / f"step_{step}"
    temporary = folder / f"step_{step}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        state = {"model": trainable_state(module), "optimizer": optimizer.state_dict(), "ema": ema.state_dict()}
        torch.save(state, temporary / "state.pt")
        (temporary / "meta.json").write_text(json.dumps({"step": step, "fingerprint": fingerprint}))
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise write_error(final, error, folder) from error
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_checkpoint(
    folder: Path, fingerprint: str, module: nn.Module, optimizer: torch.optim.Optimizer, ema: EMA
) -> int:
    """Restore the newest checkpoint below `folder`; returns its step (0 without one).

    Raises ValueError for a checkpoint of another recipe.
    """
    found = checkpoints(folder)
    if not found:
        return 0
    meta: dict[str, Any] = json.loads((found[-1] / "meta.json").read_text())
    if meta["fingerprint"] != fingerprint:
        raise ValueError(
            f"checkpoint {found[-1]} was made by another recipe (fingerprint {meta['fingerprint']}, this one is "
            f"{fingerprint}): change the recipe's name, restore the recipe, or remove the folder {folder.parent}"
        )
    state = torch.load(found[-1] / "state.pt", map_location="cpu", weights_only=True)
    parameters = trainable_state(module)
    if set(parameters) != set(state["model"]):
        raise ValueError(f"checkpoint {found[-1]} holds other parameters than this stage trains")
    with torch.no_grad():
        for name, value in state["model"].items():
            parameters[name].copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    ema.load_state_dict(state["ema"])
    logger.info("resuming %s at step %d", folder.parent, meta["step"])
    return meta["step"]
