"""The loop that fits every network of the suite.

Legend: N rows, K outputs.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class FitSettings:
    """How a network is fitted: at most `num_epochs` (and at least `min_steps` steps, on a small set
    by more epochs), stopped when the validation loss has not improved for `patience` epochs; the
    best epoch's weights are kept. `one_cycle`: the learning rate rises over a fifth of the steps
    and falls to nothing (Smith and Topin 2018), for fits without validation."""

    network: str = "densenet121"
    num_epochs: int = 50
    min_steps: int = 0
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int = 5
    max_shift: int = 2  # pixels, either way: augmentation that does not swap sides
    one_cycle: bool = False
    device: str = "cpu"


def one_cycle(num_steps: int, learning_rate: float = 3e-3, **settings: object) -> FitSettings:
    """About `num_steps` steps of one cycle, without validation."""
    return FitSettings(
        num_epochs=1,
        min_steps=num_steps,
        learning_rate=learning_rate,
        one_cycle=True,
        **{"weight_decay": 0.02, "max_shift": 1, **settings},
    )


def fit(
    network: nn.Module,
    loss: Callable[[torch.Tensor], torch.Tensor],
    num_rows: int,
    validate: Callable[[], float] | None,
    settings: FitSettings,
) -> int:
    """Fit `network` by AdamW; `loss(rows)` is that of a batch of row indices, `validate()` the
    figure that early stopping lowers (None: every epoch is run). Returns the epochs run. Draws from
    torch's global generator only.

    ValueError for fewer than two rows and for a loss that is not finite.
    """
    if num_rows < 2:
        raise ValueError(f"expected two training rows or more, got {num_rows}")
    rate = settings.learning_rate
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=settings.weight_decay)
    per_epoch = sum(1 for _ in _batches(torch.arange(num_rows), settings.batch_size))
    num_epochs = max(settings.num_epochs, -(-settings.min_steps // per_epoch))
    schedule = None
    if settings.one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rate, total_steps=num_epochs * per_epoch, pct_start=0.2
        )
    # An epoch of a tiny set is too short to judge: validate after 10 steps or more.
    every = max(1, min(10, settings.min_steps) // per_epoch)
    best, since, kept, epoch = np.inf, 0, None, 0
    for epoch in range(1, num_epochs + 1):
        network.train()
        for rows in _batches(torch.randperm(num_rows), settings.batch_size):
            value = loss(rows)
            if not torch.isfinite(value):
                name = type(network).__name__
                raise ValueError(f"the loss of {name} is {float(value)} in epoch {epoch}")
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
        if validate is None or epoch % every:
            continue
        network.eval()
        with torch.inference_mode():
            figure = validate()
        if figure < best:
            best, since, kept = figure, 0, copy.deepcopy(network.state_dict())
        else:
            since += 1
            if since >= settings.patience:
                break
    if kept is not None:
        network.load_state_dict(kept)
    network.eval()
    return epoch


def _batches(order: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """The rows of an epoch; a small rest is left out, because it makes a poor batch norm."""
    for rows in order.split(size):
        if len(rows) >= 2 and not len(rows) < size // 2 <= len(order) // 2:
            yield rows


def masked_loss(logits: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of (N, K) logits over the entries that are `known`."""
    losses = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


@torch.inference_mode()
def outputs_of(
    network: nn.Module, *inputs: torch.Tensor, device: str = "cpu", batch_size: int = 256
) -> torch.Tensor:
    """Outputs (N, K) on the CPU of rows (N, ...) given batch by batch."""
    network.eval()
    parts = zip(*(x.split(batch_size) for x in inputs), strict=True)
    return torch.cat([network(*(x.to(device) for x in part)).cpu() for part in parts])
