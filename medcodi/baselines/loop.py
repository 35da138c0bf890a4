"""The training loop of every image system: GANs, autoencoders, diffusion.

A step lets the players of a system take their turns, each with its own batch and optimiser. All
random numbers of step s come from (seed, s), so that a training that was cut off and goes on from
its checkpoint equals one that was not.
"""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from medcodi.files import written
from medcodi.nn.seeding import derive_seed

if TYPE_CHECKING:
    from medcodi.baselines.base import ImageBaseline, Player, Records

STATE = "state.pt"


def train(
    system: "ImageBaseline",
    records: "Records",
    num_steps: int,
    batch_size: int = 32,
    seed: int = 0,
    folder: str | Path | None = None,
    checkpoint_every: int = 0,
) -> None:
    """Train `system` in place. With a `folder`, its state is kept there every `checkpoint_every`
    steps, and the same call goes on from it.

    ValueError for records that do not fit the system, for a loss that is not finite, and for a
    state of another call.
    """
    system.check_records(records)
    players = system.players()
    optimizers = {name: _optimizer(player) for name, player in players.items()}
    average = copy.deepcopy(system) if system.ema_decay else None
    state = Path(folder) / STATE if folder else None
    call = {"num_steps": num_steps, "batch_size": batch_size, "seed": seed}
    start = _resume(state, call, system, average, optimizers) if state and state.is_file() else 0
    system.train()
    for step in range(start, num_steps):
        progress = step / num_steps
        with drawing(seed, step):
            system.prepare(records, progress)
            for name in system.turns(progress):
                rows = torch.randint(len(records), (batch_size,))
                _update(system, name, optimizers[name], records.take(rows), progress, step)
        if average is not None:
            _average(average, system, min(system.ema_decay, (1 + step) / (10 + step)))
        if state and checkpoint_every and (step + 1) % checkpoint_every == 0:
            _keep(state, call | {"step": step + 1}, system, average, optimizers)
    if average is not None:
        system.load_state_dict(average.state_dict())
    for parameter in system.parameters():
        parameter.requires_grad_(True)
    with drawing(seed, num_steps):
        system.finish(records)
    system.eval()


def seconds_a_step(
    system: "ImageBaseline", records: "Records", batch_size: int = 32, num_probes: int = 8
) -> float:
    """CPU seconds of a step, the mean over the whole training: steps at `num_probes` places of it,
    on a copy. From it follows how many steps a budget of seconds has."""
    copied = copy.deepcopy(system)
    optimizers = {name: _optimizer(player) for name, player in copied.players().items()}
    total = 0.0
    for probe in range(num_probes):
        progress = (probe + 0.5) / num_probes
        for timed in (False, True):  # the first step of a phase also pays for what is made once
            with drawing("probe", probe, timed):
                copied.prepare(records, progress)
                start = time.process_time()
                for name in copied.turns(progress):
                    batch = records.take(torch.randint(len(records), (batch_size,)))
                    _update(copied, name, optimizers[name], batch, progress, probe)
                total += (time.process_time() - start) * timed
    return total / num_probes


@contextmanager
def drawing(*parts: object) -> Iterator[None]:
    """Inside, torch's global generator is seeded by `parts`; afterwards it is as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(*parts))
        yield


def _optimizer(player: "Player") -> torch.optim.Adam:
    parameters = [p for module in player.modules for p in module.parameters()]
    return torch.optim.Adam(parameters, player.learning_rate, player.betas)


def _update(
    system: "ImageBaseline",
    name: str,
    optimizer: torch.optim.Adam,
    batch: "Records",
    progress: float,
    step: int,
) -> None:
    player = system.players()[name]
    system.requires_grad_(False)  # no gradient is computed for those who wait
    for module in player.modules:
        module.requires_grad_(True)
    for group in optimizer.param_groups:
        group["lr"] = player.learning_rate * system.rate(name, progress)
    loss = system.loss(name, batch, progress)
    if not torch.isfinite(loss):
        raise ValueError(
            f"{system.name}: the loss of its {name} is {float(loss.detach())} in step {step}"
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def _average(average: nn.Module, system: nn.Module, decay: float) -> None:
    """Parameters are averaged; buffers, which are measured, are those of the moment."""
    for kept, new in zip(average.parameters(), system.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(average.buffers(), system.buffers(), strict=True):
        kept.copy_(new)


def _keep(
    path: Path,
    told: dict[str, int],
    system: nn.Module,
    average: nn.Module | None,
    optimizers: dict[str, torch.optim.Adam],
) -> None:
    state = {
        "told": told,
        "system": system.state_dict(),
        "average": average.state_dict() if average is not None else {},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
    }
    with written(path) as temporary:
        torch.save(state, temporary)


def _resume(
    path: Path,
    call: dict[str, int],
    system: nn.Module,
    average: nn.Module | None,
    optimizers: dict[str, torch.optim.Adam],
) -> int:
    """The number of steps that the kept state has done."""
    state = torch.load(path, weights_only=True)
    kept = {name: state["told"][name] for name in call}
    if kept != call:
        raise ValueError(f"{path} is of a training with {kept}, not {call}: give another folder")
    system.load_state_dict(state["system"])
    if average is not None:
        average.load_state_dict(state["average"])
    for name, optimizer in optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    return state["told"]["step"]
