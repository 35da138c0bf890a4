"""Low-rank adapters in a network, by peft: LoRA (Hu et al. 2022) and DoRA (Liu et al. 2024).

add_adapters(network, "site", rank=8)     # the network is frozen, they train
state = adapter_state(network, "site")
set_strengths(network, {"site": 0.5})
merge_adapters(network)                             # into the weights; or remove_adapters
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

LAYERS = {"all": (nn.Linear, nn.Conv2d), "linear": (nn.Linear,)}
MARK = "lora_"  # in the names of all that peft adds


def _peft() -> Any:
    try:
        import peft
        from peft.tuners.lora import LoraLayer
    except ImportError:
        raise RuntimeError("adapters need peft: pip install 'medcodi[lora]'") from None
    return peft, LoraLayer


def adapted_names(
    network: nn.Module, layers: str, without: Iterable[nn.Parameter] = ()
) -> list[str]:
    """Dotted names of the layers that get an adapter: those of the kind, but those that hold a
    parameter of `without`."""
    left_out = {id(p) for p in without}
    return [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, LAYERS[layers])
        and not any(part.startswith(MARK) for part in name.split("."))
        and not any(id(p) in left_out for p in layer.parameters(recurse=False))
    ]


def add_adapters(
    network: nn.Module,
    name: str,
    kind: str = "lora",
    rank: int = 8,
    alpha: float = 8.0,
    dropout: float = 0.0,
    layers: str = "all",
    without: Iterable[nn.Parameter] = (),
) -> None:
    """Add the adapter `name`, in place; it changes nothing until it is trained or loaded. Of the
    network, only it trains. The arguments are those of `config.AdaptersConfig`; layers that hold a
    parameter of `without` get none. ValueError for a name that is taken and for a network without
    such layers."""
    peft, _ = _peft()
    if name in adapter_names(network):
        raise ValueError(f"an adapter {name!r} is there already")
    chosen = [n.removesuffix(".base_layer") for n in adapted_names(network, layers, without)]
    if not chosen:
        raise ValueError(f"the network has no layer of adapters.layers={layers}")
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        use_dora=kind == "dora",
        target_modules=f"({'|'.join(map(re.escape, chosen))})",
    )
    peft.inject_adapter_in_model(config, network, name)
    network.requires_grad_(False)
    for parameter in adapter_state(network, name).values():
        parameter.requires_grad_(True)


def _layers(network: nn.Module) -> list[Any]:
    _, layer_class = _peft()
    return [module for module in network.modules() if isinstance(module, layer_class)]


def adapter_names(network: nn.Module) -> list[str]:
    """Names of the adapters in a network; [] for a plain one (which does not import peft)."""
    names = [key for key, _ in network.named_parameters() if MARK in key]
    if not names:
        return []
    return list(dict.fromkeys(n for layer in _layers(network) for n in layer.r))


def adapter_state(network: nn.Module, name: str) -> dict[str, torch.Tensor]:
    """Tensors of one adapter, by their names without it."""
    found = {}
    for key, parameter in network.named_parameters():
        parts = key.split(".")
        of_peft = [i for i, part in enumerate(parts) if part.startswith(MARK)]
        if of_peft and parts[of_peft[0] + 1] == name:
            del parts[of_peft[0] + 1]
            found[".".join(parts)] = parameter
    return found


def load_adapter_state(
    network: nn.Module, name: str, state: Mapping[str, torch.Tensor], where: str
) -> None:
    """Fill the adapter `name`. ValueError for other names or shapes than it has."""
    own = adapter_state(network, name)
    here = {key: tuple(p.shape) for key, p in own.items()}
    there = {key: tuple(value.shape) for key, value in state.items()}
    if here != there:
        odd = sorted(map(str, set(here.items()) ^ set(there.items())))[:4]
        raise ValueError(f"{where} does not fit this network, such as {', '.join(odd)}")
    with torch.no_grad():
        for key, value in state.items():
            own[key].copy_(value)


def set_strengths(network: nn.Module, strengths: Mapping[str, float]) -> None:
    """Use these adapters, each times its strength; without any the network is what it was. A
    strength of 0 switches an adapter off."""
    used = [name for name, strength in strengths.items() if strength]
    for layer in _layers(network) if adapter_names(network) else ():
        layer.enable_adapters(bool(used))
        if used:
            layer.set_adapter([name for name in used if name in layer.r])
        for name in used:
            if name in layer.r:
                layer.set_scale(name, strengths[name])
    network.requires_grad_(False)


def merge_adapters(network: nn.Module, strengths: Mapping[str, float]) -> None:
    """Put the adapters into the weights, each times its strength, and remove them."""
    if not adapter_names(network):
        return
    set_strengths(network, strengths)
    used = [name for name, strength in strengths.items() if strength]
    for layer in _layers(network):
        layer.merge(adapter_names=[name for name in used if name in layer.r])
    remove_adapters(network)


def remove_adapters(network: nn.Module) -> None:
    """Put the plain layers back, with the weights that they have."""
    if not adapter_names(network):
        return
    _, layer_class = _peft()
    for name, layer in list(network.named_modules()):
        if isinstance(layer, layer_class):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, layer.get_base_layer())
    if hasattr(network, "peft_config"):
        del network.peft_config
