"""Reading what others published: Hugging Face folders or hub names, and weight files. No pickled
code is ever run."""

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn


def pretrained(
    model_class: Any, source: str | Path, subfolder: str = "", dead: tuple[str, ...] = ()
) -> tuple[nn.Module, list[str]]:
    """`model_class.from_pretrained` of a local folder or a hub name, strictly, from safetensors.

    Args:
        subfolder: of the source, such as "vae".
        dead: prefixes of keys that the source may hold beyond the model.

    Returns:
        the model and the source's keys that it has no place for (all below `dead`).
        ValueError names what is missing, unexpected or of another shape, and the folder when there
        is none.
    """
    where = Path(source) / subfolder
    try:
        model, info = model_class.from_pretrained(
            str(source),
            use_safetensors=True,
            output_loading_info=True,
            **({"subfolder": subfolder} if subfolder else {}),
        )
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        files = (
            f"{subfolder}/config.json and {subfolder}/*.safetensors"
            if subfolder
            else "config.json and *.safetensors"
        )
        raise ValueError(
            f"cannot load {model_class.__name__} from {source}: "
            f"{_absence(error, Path(source), where)}. Give a local folder "
            f"with {files}, or a hub name while the hub can be reached"
        ) from error
    missing, wrong = sorted(info["missing_keys"]), [str(m) for m in info["mismatched_keys"]]
    unexpected = sorted(info["unexpected_keys"])
    refused = [key for key in unexpected if not key.startswith(dead)] if dead else unexpected
    if missing or wrong or refused:
        raise ValueError(
            f"{where} is no complete {model_class.__name__}. Missing keys: {missing[:5]} "
            f"({len(missing)}). Unexpected "
            f"keys: {refused[:5]} ({len(refused)}). Other shapes: {wrong[:5]} ({len(wrong)})"
        )
    return model, unexpected


def _absence(error: BaseException, source: Path, where: Path) -> str:
    """Why nothing was loaded from folder `where` of `source`: the libraries hide a hub that cannot
    be reached."""
    said = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    if source.is_dir():
        return said if where.is_dir() else f"there is no folder {where}"
    chain = [error]
    while origin := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(origin)
    if any(isinstance(e, HFValidationError) for e in chain):
        return f"there is no folder {where} here, and {source} cannot be a hub name"
    if any(isinstance(e, LocalEntryNotFoundError) for e in chain):
        first = str(chain[-1]).strip().partition(". ")[0]
        return f"there is no folder {where} here, and the hub cannot be reached ({first})"
    return f"there is no folder {where} here, and of the hub: {said}"


def weights_file(path: str | Path) -> dict[str, torch.Tensor]:
    """State dict of a .safetensors file, or of a torch file (.pt, .pth, .bin, .ckpt) read with
    weights_only.

    A `state_dict` entry is unwrapped. ValueError for a file that is none, holds other objects, or
    no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no weights at {path}: expected a .safetensors, .pt or .pth file")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            mapped = zipfile.is_zipfile(
                path
            )  # torch's format before 1.6 is no zip, and cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as weights alone: {_refusal(error)}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    others = (
        [k for k, v in state.items() if not isinstance(v, torch.Tensor)]
        if isinstance(state, dict)
        else None
    )
    if not state or others or others is None:
        raise ValueError(
            f"{path} must hold a mapping of names to tensors; entries that are none: "
            f"{(others or ['all'])[:5]}"
        )
    return state


def _refusal(error: Exception) -> str:
    """Why torch refuses a file, without its advice on how to run the code in it all the same."""
    text = str(error)
    if unsupported := re.search(r"GLOBAL (\S+)", text):
        return (
            f"it holds the Python object {unsupported[1]}, and medcodi runs no pickled code; "
            "expected tensors by name"
        )
    text = (
        text.rpartition("WeightsUnpickler error:")[2]
        .partition("In PyTorch 2.6, we changed")[0]
        .strip()
    )
    reason = text.partition("\n")[0].partition(". ")[0] or type(error).__name__
    return f"is it cut off, or another kind of file? ({reason})"
