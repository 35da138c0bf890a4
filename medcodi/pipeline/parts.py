"""Parts of a network that other libraries know: a diffusers or transformers model inside one of
ours is stored in a folder of its own, as its library does, so that its own `from_pretrained` reads
it.

    diffusion/frontal/model.safetensors                        fusion, coupling, ...
    diffusion/frontal/unet/config.json                         UNet2DConditionModel
    diffusion/frontal/unet/diffusion_pytorch_model.safetensors
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import ModelMixin
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

CONFIG = "config.json"
OF_DIFFUSERS, OF_TRANSFORMERS = "diffusion_pytorch_model.safetensors", "model.safetensors"


def library_parts(module: nn.Module) -> dict[str, ModelMixin | PreTrainedModel]:
    """Dotted name -> model of a library, the outermost ones."""
    found: dict[str, ModelMixin | PreTrainedModel] = {}
    for name, part in module.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if name and not inside and isinstance(part, (ModelMixin, PreTrainedModel)):
            found[name] = part
    return found


def part_files(parts: Mapping[str, nn.Module]) -> dict[str, str]:
    """Dotted name -> path of the part's weights below its component's folder: a folder with the
    last name, or with the whole one where several parts have that last name."""
    last = {name: name.rpartition(".")[2] for name in parts}
    shared = Counter(last.values())
    folders = {name: short if shared[short] == 1 else name for name, short in last.items()}
    file = lambda part: OF_DIFFUSERS if isinstance(part, ModelMixin) else OF_TRANSFORMERS
    return {name: f"{folders[name]}/{file(part)}" for name, part in parts.items()}


def own_keys(part: ModelMixin | PreTrainedModel) -> set[str]:
    """Keys that the library's own class knows: what we added to it (cross-modal attention) is not
    its own."""
    with torch.device("meta"):
        if isinstance(part, ModelMixin):
            return set(type(part).from_config(part.config).state_dict())
        return set(type(part)._from_config(part.config).state_dict()) & set(part.state_dict())


def save_parts(module: nn.Module, folder: Path) -> set[str]:
    """Write the parts below `folder`; returns the keys of `module` that they hold."""
    held: set[str] = set()
    parts = library_parts(module)
    for name, file in part_files(parts).items():
        part, path = parts[name], folder / file
        path.parent.mkdir(parents=True)
        state = part.state_dict()
        own = {key: state[key].detach().cpu().contiguous().clone() for key in own_keys(part)}
        save_file(own, path, metadata={"format": "pt"})
        if isinstance(part, ModelMixin):
            part.save_config(path.parent)
        else:
            config = part.config.to_dict() | {"architectures": [type(part).__name__]}
            (path.parent / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")
        held |= {f"{name}.{key}" for key in own}
    return held


def prefixes(module: nn.Module) -> dict[str, str]:
    """File below the component's folder -> prefix of its keys in `module`, for all of its files."""
    files = part_files(library_parts(module))
    return {OF_TRANSFORMERS: ""} | {file: f"{name}." for name, file in files.items()}
