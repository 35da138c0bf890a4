"""Optimizers of the training loop: AdamW, and Muon for the matrices of small networks.

Muon (Jordan et al. 2024): the momentum of a weight matrix is replaced by the nearest matrix whose
singular values are about one, so that a direction that the gradient seldom shows gets as large a
step as one that it always shows. Everything that is no matrix (biases, norms, embeddings,
positions, learned tokens) takes AdamW. The update has the size of AdamW's (Liu et al. 2025): both
share one learning rate.
"""

import math

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from medcodi.config import OptimConfig
from medcodi.config_io import unknown_key

OPTIMIZERS = ("adamw", "muon")
MATRICES = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, Conv1D)  # whose weight Muon takes
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic: singular values in (0, 1] go to 0.7 to 1.2
ITERATIONS, MOMENTUM, RMS = 5, 0.95, 0.2


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """(M, N) -> the same left and right singular vectors with singular values of about one, by
    Newton-Schulz iterations in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.bfloat16()
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.T).to(matrix.dtype)


def matrix_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The trained weights of linear and convolutional layers. A weight that an embedding shares,
    as the output layer of a language model does, is none of them."""
    embedded = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    found = [m.weight for m in module.modules() if isinstance(m, MATRICES)]
    found += [
        m.in_proj_weight
        for m in module.modules()
        if isinstance(m, nn.MultiheadAttention) and m.in_proj_weight is not None
    ]
    unique = {id(p): p for p in found if p.requires_grad and id(p) not in embedded}
    return list(unique.values())


class Muon(torch.optim.AdamW):
    """Muon for the groups with `muon`, AdamW for the others; one state, as any optimizer has."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            if not group["muon"]:
                continue
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group["lr"], group["weight_decay"])
                    parameter.grad = None  # AdamW passes it over
        super().step()

    def _update(self, parameter: torch.Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
            state["step"] = torch.zeros(())  # as AdamW's, which asks for it when it is loaded
        state["step"] += 1
        momentum = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
        ahead = parameter.grad.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
        size = RMS * math.sqrt(max(ahead.shape))
        parameter.mul_(1 - lr * weight_decay)
        parameter.add_(orthogonalized(ahead).view_as(parameter), alpha=-lr * size)


def build_optimizer(
    parameters: list[nn.Parameter], module: nn.Module, optim: OptimConfig
) -> torch.optim.Optimizer:
    """The optimizer `optim.name` of the trained `parameters` of `module`. ValueError for an unknown
    name."""
    settings = {
        "lr": optim.lr,
        "betas": tuple(optim.betas),
        "weight_decay": optim.weight_decay,
        "fused": True,
    }
    if optim.name not in OPTIMIZERS:
        raise unknown_key(optim.name, OPTIMIZERS, "optim.name")
    if optim.name == "adamw":
        return torch.optim.AdamW(parameters, **settings)
    own = {id(p) for p in matrix_parameters(module)}
    groups = [
        {"params": [p for p in parameters if (id(p) in own) == muon], "muon": muon}
        for muon in (True, False)
    ]
    return Muon([group for group in groups if group["params"]], **settings)
