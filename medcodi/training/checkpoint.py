"""Checkpoints for exact resume: written to a temporary name, then renamed; read without pickled
code."""

import errno
import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from medcodi.files import staged

logger = logging.getLogger(__name__)
STATE, META = "state.pt", "meta.json"

# what safetensors says when a write comes short
WRITE_FAILED = ("No space left on device", "File too large", "quota exceeded")


class CheckpointError(RuntimeError):
    """A checkpoint or an export could not be written, or is damaged; the others are untouched."""


def write_error(path: Path, error: Exception, folder: Path) -> CheckpointError:
    """The CheckpointError for `error` while writing `path`; `folder` holds the checkpoints."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    full = full or any(text in str(error) for text in WRITE_FAILED)
    kept = checkpoints(folder)
    return CheckpointError(
        f"could not write {path}: {'the disk is full (or a quota is reached)' if full else error}. "
        f"The last good checkpoint is {kept[-1].name if kept else 'none'}; free space and rerun "
        "the same command to "
        "go on."
    )


def trainable_state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [p for p in folder.glob("step_*") if p.is_dir()]
    return sorted(found, key=lambda p: int(p.name.split("_")[1]))


def save_checkpoint(
    folder: Path, step: int, identity: dict[str, Any], state: dict[str, Any], keep: int
) -> Path:
    """Write `state` (`model`, `optimizer`, `ema`: whole tensors) to `folder/step_N`, then drop all
    but the `keep` newest. `identity` has the `fingerprint` of what made it. CheckpointError when
    the disk is full."""
    final = folder / f"step_{step}"
    try:
        with staged(final, overwrite=True, durable=True) as temporary:
            with open(temporary / STATE, "wb") as file:
                hashed = _Hashed(file)
                torch.save(state, hashed)
            meta = {"step": step, "sha256": hashed.sha256.hexdigest(), **identity}
            (temporary / META).write_text(json.dumps(meta))
    except (OSError, RuntimeError) as error:
        failed = _failed_write(error)
        if failed is None:
            raise
        raise write_error(final, failed, folder) from error
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


class _Hashed:
    """A file that is hashed as torch.save writes it, from its beginning to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.flush, self.sha256 = file, file.flush, hashlib.sha256()

    def write(self, data: memoryview) -> int:
        self.sha256.update(data)
        return self.file.write(data)


def _failed_write(error: BaseException | None) -> OSError | None:
    """What the operating system said when a write failed; torch's zip writer puts an error of its
    own in front. None when something else went wrong, such as a worker process that died meanwhile.
    """
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(
    folder: Path, identity: dict[str, Any], module: nn.Module
) -> tuple[int, dict[str, Any] | None]:
    """Step and state of the newest checkpoint below `folder`, its weights put into `module`; (0,
    None) without one.

    Raises ValueError for a checkpoint of another `identity` (with what differs), CheckpointError
    (with the file) for a damaged one.
    """
    found = checkpoints(folder)
    if not found:
        return 0, None
    meta, state = _read(found, identity)
    parameters = trainable_state(module)
    if set(parameters) != set(state["model"]):
        raise ValueError(f"checkpoint {found[-1]} holds other parameters than this stage trains")
    with torch.no_grad():
        for name, value in state["model"].items():
            parameters[name].copy_(value)
    logger.info("resuming %s at step %d", folder.parent, meta["step"])
    return meta["step"], state


def _differences(there: Any, here: Any, name: str) -> list[str]:
    """Where two nested mappings differ, with both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = sorted(there.keys() | here.keys())
        return [x for k in keys for x in _differences(there.get(k), here.get(k), f"{name}.{k}")]
    return [] if there == here else [f"{name} is {there} there, {here} here"]


def _read(found: list[Path], identity: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    path = found[-1] / META
    try:
        meta = json.loads(path.read_text())
        digest = meta.get(
            "sha256"
        )  # absent, as the settings, in checkpoints that are older than the check
        if meta["fingerprint"] != identity["fingerprint"]:
            keys = [k for k in identity if k in meta and k != "fingerprint"]
            different = "; ".join(x for k in keys for x in _differences(meta[k], identity[k], k))
            raise ValueError(
                f"checkpoint {found[-1]} was made by another recipe "
                f"({different or meta['fingerprint']}): "
                "change the recipe's name, restore the recipe, or remove the folder "
                f"{found[-1].parents[1]}"
            )
        path = found[-1] / STATE
        if digest and _sha256(path) != digest:
            raise RuntimeError("its SHA-256 is not the one in meta.json")
        return meta, torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, KeyError, json.JSONDecodeError) as error:
        before = f"resume from {found[-2].name}" if len(found) > 1 else "begin the stage anew"
        raise CheckpointError(
            f"{path} is damaged ({error}): remove {found[-1]} to {before}"
        ) from error
