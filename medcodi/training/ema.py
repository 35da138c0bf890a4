"""Exponential moving average of the trainable weights."""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn


class EMA:
    """theta_ema <- d theta_ema + (1 - d) theta with d = min(decay, (1 + step) / (10 + step)). decay
    0 switches it off.

    `local` gives what this process keeps of a parameter (topology.py): that is averaged, in one
    foreach operation.
    """

    def __init__(
        self,
        module: nn.Module,
        decay: float,
        local: Callable[[nn.Parameter], torch.Tensor] = nn.Parameter.detach,
    ) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {decay}")
        self.decay, self.local = decay, local
        self.parameters = (
            {n: p for n, p in module.named_parameters() if p.requires_grad} if decay else {}
        )
        self.shadow = [x.clone() for x in self._weights()]

    def _weights(self) -> list[torch.Tensor]:
        return [self.local(p) for p in self.parameters.values()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        if not self.parameters:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, self._weights(), 1 - decay)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.parameters, self.shadow, strict=True))

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        for name, shadow in zip(self.parameters, self.shadow, strict=True):
            shadow.copy_(state[name])

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module carries the averaged weights."""
        backup = [x.clone() for x in self._weights()]
        try:
            self._copy(self.shadow)
            yield
        finally:
            self._copy(backup)

    @torch.no_grad()
    def _copy(self, values: list[torch.Tensor]) -> None:
        for weights, value in zip(self._weights(), values, strict=True):
            weights.copy_(value)
