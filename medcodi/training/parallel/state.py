"""What a checkpoint holds, in whole tensors whatever the topology: weights that train, state of the
optimizer, averages."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from medcodi.training.ema import EMA
from medcodi.training.parallel.topology import Topology

Tensors = dict[str, torch.Tensor]


@torch.no_grad()
def whole_state(task: nn.Module, ema: EMA, topology: Topology) -> dict[str, Any]:
    """`model`, `optimizer` and `ema`; all processes call it together."""
    model = {n: topology.local(p) for n, p in task.named_parameters() if p.requires_grad}
    return {
        "model": _mapped(task, model, topology.whole),
        "optimizer": topology.optimizer_state(),
        "ema": _mapped(task, ema.state_dict(), topology.whole),
    }


def load_state(task: nn.Module, ema: EMA, topology: Topology, state: dict[str, Any] | None) -> None:
    """Put `optimizer` and `ema` of `whole_state` into this process's parts; None: they stay new."""
    if state is not None:
        topology.load_optimizer_state(state["optimizer"])
        ema.load_state_dict(_mapped(task, state["ema"], topology.part))


def _mapped(task: nn.Module, tensors: Tensors, function: Callable) -> Tensors:
    """`function(parameter, tensor)` for tensors by the names of their parameters."""
    parameters = dict(task.named_parameters())
    return {name: function(parameters[name], tensor) for name, tensor in tensors.items()}
