"""Backward inside forward: for sharded processes that use different parameters in one step."""

from typing import Any

import torch
from torch import nn

from medcodi.training.task import Task


class _Gradients(torch.autograd.Function):
    """The loss, with gradients that are known already, one for each parameter. `anchor` gets its
    own gradient after all of them (autograd hands gradients to leaves before it goes on)."""

    @staticmethod
    def forward(
        ctx: Any,
        loss: torch.Tensor,
        gradients: list[torch.Tensor],
        anchor: torch.Tensor,
        *parameters: nn.Parameter,
    ) -> torch.Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, factor: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return None, None, torch.zeros_like(factor), *(g * factor for g in ctx.gradients)


class AtOnce(nn.Module):
    """Loss and gradients of a task. A module of its own, whose tensor goes in and comes out: ZeRO-3
    reduces the gradients of a module when that of its input is there."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(
        self, anchor: torch.Tensor, *arguments: Any
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        losses = self.task(*arguments)
        parameters = [p for p in self.task.parameters() if p.requires_grad]
        with torch.autocast(parameters[0].device.type, enabled=False):
            found = torch.autograd.grad(losses["loss"], parameters, allow_unused=True)
        gradients = [
            torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
        ]
        return _Gradients.apply(losses["loss"].detach(), gradients, anchor, *parameters), losses


class Together(nn.Module):
    """A task whose processes use different parameters in one step (a modality may be absent from
    one of them).

    Sharded gradients are reduced as they arrive, so that all processes must use the same parameters
    in the same order. Here the backward pass runs inside forward, and the outer one hands over all
    gradients at once, zeros for unused parameters.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.at_once = AtOnce(task)

    def forward(self, *arguments: Any) -> dict[str, torch.Tensor]:
        device = next(self.parameters()).device
        loss, losses = self.at_once(torch.zeros((), device=device, requires_grad=True), *arguments)
        return {**losses, "loss": loss}
