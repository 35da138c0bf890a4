"""Checkpoints for exact resume: whole folders, with checksums, read without pickled code."""

import contextlib
import errno
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from medcodi.files import sha256, staged
from medcodi.identity import differences, fingerprint, plain

logger = logging.getLogger(__name__)
STATE, META = "state.pt", "meta.json"
CHECKSUM = "checksum"  # in META, of everything else in it
NAME = re.compile(r"step_(0|[1-9]\d*)")

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
    found = [p for p in folder.glob("step_*") if p.is_dir() and NAME.fullmatch(p.name)]
    return sorted(found, key=_step_of)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step_"))


def _refuse_strangers(folder: Path) -> None:
    """CheckpointError for what is named like a checkpoint and is none."""
    for path in sorted(folder.glob("step_*")):
        if not (path.is_dir() and NAME.fullmatch(path.name)):
            raise CheckpointError(
                f"{path} is no checkpoint: expected folders step_NUMBER in {folder}. Rename or "
                "remove it"
            )


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
            meta = {
                "step": step,
                "sha256": hashed.sha256.hexdigest(),
                "identity": plain(identity),
            }
            meta[CHECKSUM] = fingerprint(meta)
            (temporary / META).write_text(json.dumps(meta, indent=1))
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


def read_checkpoint(
    folder: Path, identity: dict[str, Any], module: nn.Module
) -> tuple[int, dict[str, Any] | None]:
    """Step and state of the newest checkpoint below `folder`, its weights put into `module`; (0,
    None) without one.

    Raises ValueError for a checkpoint of another `identity` (with what differs), CheckpointError
    (with the file) for a damaged one, and for a folder that is none.
    """
    _refuse_strangers(folder)
    found = checkpoints(folder)
    if not found:
        return 0, None
    newest = found[-1]
    before = f"resume from {found[-2].name}" if len(found) > 1 else "begin the stage anew"
    with _damaged(newest / META, before):
        meta = _read_meta(newest)
    if meta["identity"]["fingerprint"] != identity["fingerprint"]:
        here = plain(identity)
        keys = [k for k in here if k != "fingerprint"]
        different = [x for k in keys for x in differences(meta["identity"].get(k), here[k], k)]
        raise ValueError(
            f"checkpoint {newest} was made by another recipe ({'; '.join(different)}): change the "
            f"recipe's name, restore the recipe, or remove the folder {newest.parents[1]}"
        )
    with _damaged(newest / STATE, before):
        if sha256(newest / STATE) != meta["sha256"]:
            raise ValueError(f"its SHA-256 is not the one in {META}")
        state = torch.load(newest / STATE, map_location="cpu", weights_only=True, mmap=True)
    _put(state["model"], module, newest)
    logger.info("resuming %s at step %d", folder.parent, meta["step"])
    return meta["step"], state


def _read_meta(checkpoint: Path) -> dict[str, Any]:
    """ValueError when it is not as it was written, or of another step."""
    meta = json.loads((checkpoint / META).read_text())
    if not isinstance(meta, dict):
        raise ValueError(f"expected a mapping, got a {type(meta).__name__}")
    if meta.pop(CHECKSUM, None) != fingerprint(meta):
        raise ValueError("its checksum differs from what it holds")
    if meta["step"] != _step_of(checkpoint):
        raise ValueError(f"it is of step {meta['step']}")
    return meta


def _put(weights: dict[str, torch.Tensor], module: nn.Module, checkpoint: Path) -> None:
    parameters = trainable_state(module)
    here = {name: tuple(value.shape) for name, value in parameters.items()}
    there = {name: tuple(value.shape) for name, value in weights.items()}
    if here != there:
        different = sorted(set(here.items()) ^ set(there.items()))[:4]
        raise ValueError(
            f"checkpoint {checkpoint} holds other parameters than this stage trains, such as "
            f"{different}"
        )
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)


@contextlib.contextmanager
def _damaged(path: Path, before: str) -> Iterator[None]:
    """CheckpointError that says what to do when `path` cannot be read."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}): remove {path.parent} to {before}"
        ) from error
