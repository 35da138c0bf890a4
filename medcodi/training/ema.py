"""Exponential moving average of the trainable weights."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


class EMA:
    """theta_ema <- d theta_ema + (1 - d) theta with d = min(decay, (1 + step) / (10 + step)). decay 0 switches it off."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.names = [n for n, p in module.named_parameters() if p.requires_grad] if decay else []
        parameters = dict(module.named_parameters())
        self.shadow = [parameters[n].detach().clone() for n in self.names]

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        if not self.names:
            return
        parameters = dict(module.named_parameters())
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [parameters[n].detach() for n in self.names], 1 - decay)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.names, self.shadow, strict=True))

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        for name, shadow in zip(self.names, self.shadow, strict=True):
            shadow.copy_(state[name])

    @contextlib.contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Inside, the module carries the averaged weights."""
        parameters = dict(module.named_parameters())
        backup = [parameters[n].detach().clone() for n in self.names]
        try:
            self._copy(parameters, self.shadow)
            yield
        finally:
            self._copy(parameters, backup)

    @torch.no_grad()
    def _copy(self, parameters: dict[str, nn.Parameter], values: list[torch.Tensor]) -> None:
        for name, value in zip(self.names, values, strict=True):
            parameters[name].copy_(value)
