"""Reading what others published: Hugging Face folders or hub names, and weight files. No pickled code is ever run."""

from pathlib import Path
from typing import Any

import torch
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
        ValueError names what is missing, unexpected or of another shape, and the folder when there is none.
    """
    where = str(Path(source) / subfolder) if Path(source).exists() else f"{source} ({subfolder or 'hub'})"
    try:
        model, info = model_class.from_pretrained(
            str(source), use_safetensors=True, output_loading_info=True, **({"subfolder": subfolder} if subfolder else {})
        )
    except (OSError, RuntimeError, SafetensorError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"cannot load {model_class.__name__} from {where}: {reason}. Give a local folder with config.json and "
            "*.safetensors, or a hub name while the hub can be reached"
        ) from error
    missing, wrong = sorted(info["missing_keys"]), [str(m) for m in info["mismatched_keys"]]
    unexpected = sorted(info["unexpected_keys"])
    refused = [key for key in unexpected if not key.startswith(dead)] if dead else unexpected
    if missing or wrong or refused:
        raise ValueError(
            f"{where} is no complete {model_class.__name__}. Missing keys: {missing[:5]} ({len(missing)}). Unexpected "
            f"keys: {refused[:5]} ({len(refused)}). Other shapes: {wrong[:5]} ({len(wrong)})"
        )
    return model, unexpected


def weights_file(path: str | Path) -> dict[str, torch.Tensor]:
    """State dict of a .safetensors file, or of a torch file (.pt, .pth, .bin, .ckpt) read with weights_only.

    A `state_dict` entry is unwrapped. ValueError for a file that is none, holds other objects, or no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no weights at {path}: expected a .safetensors, .pt or .pth file")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as weights alone (no code is unpickled): {_first_line(error)}") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    others = [k for k, v in state.items() if not isinstance(v, torch.Tensor)] if isinstance(state, dict) else None
    if not state or others or others is None:
        raise ValueError(f"{path} must hold a mapping of names to tensors; entries that are none: {(others or ['all'])[:5]}")
    return state


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300] or type(error).__name__
