"""The only training loop. A stage is a task; the loop knows accumulation, averaging, logging,
validation, checkpoints and exact resume, and nothing about stages. How processes share the work is
the topology's (parallel/topology.py).

`fit` asks whether the stage is done; `train` is the stage from its first line to its last, in
phases; `optimizer_step` is one step of it.
"""

import contextlib
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from medcodi.config import Recipe, StageConfig
from medcodi.nn.seeding import derive_seed
from medcodi.training.checkpoint import read_checkpoint, save_checkpoint
from medcodi.training.draws import Draws
from medcodi.training.ema import EMA
from medcodi.training.exporting import data_hash, export_stage, is_done
from medcodi.training.gradients import Gradients, gradients_of
from medcodi.training.identity import stage_identity
from medcodi.training.interrupt import TrainingInterrupted, graceful_stop
from medcodi.training.loading import batches
from medcodi.training.optimizer import build_optimizer
from medcodi.training.parallel.state import load_state, whole_state
from medcodi.training.parallel.topology import Topology, start
from medcodi.training.schedule import learning_rate
from medcodi.training.speed import memory_advice, speed_up
from medcodi.training.task import Task
from medcodi.training.trackers import check_trackers
from medcodi.training.tracking import Monitor, describe_run

logger = logging.getLogger(__name__)


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; names stage, modality and step."""


def fit(task: Task, config: StageConfig, recipe: Recipe) -> Path:
    """Train `task` into `runs/NAME/LABEL` and return its export folder. Rerunning the same command
    resumes.

    Raises NonFiniteLossError, TrainingInterrupted (state saved), CheckpointError (disk full,
    damaged file), TooLittleMemoryError, ValueError (other recipe, processes that cannot train
    this, a tracker that is not installed).
    """
    export = recipe.run_dir / task.label / "export"
    check_trackers(recipe)
    with contextlib.closing(start(config, task.find_unused_parameters)) as topology:
        identity = stage_identity(task, config, recipe.seed)
        if is_done(export, identity["fingerprint"]):
            logger.info("%s is complete: %s", task.label, export)
            return export
        with memory_advice(task, config, topology.accelerator.num_processes):
            train(task, config, recipe, topology, identity)
    return export


def train(
    task: Task, config: StageConfig, recipe: Recipe, topology: Topology, identity: dict[str, Any]
) -> None:
    """A stage, from its newest checkpoint to its export."""
    folder, accelerator = recipe.run_dir / task.label, topology.accelerator
    main, device = accelerator.is_main_process, accelerator.device
    _ = topology.micro_rows  # ValueError before anything is loaded
    # 1. Networks on the device, with the weights of the newest checkpoint
    task.to(device)
    speed_up(task, config)
    step, saved = read_checkpoint(folder / "checkpoints", identity, task)
    if main:  # a refused checkpoint keeps what describes it
        describe_run(recipe, folder, accelerator)

    # 2. Data; all processes are here, and fill missing caches together
    data = {split: task.dataset(split) for split in ("train", "validation")}
    gradients = gradients_of(task, config, topology, data["train"], recipe.seed, step, folder)
    loader = batches(data["train"], gradients.order, recipe.data, device)

    # 3. The optimizer and the average, as they were saved
    topology.prepare(task, lambda parameters: build_optimizer(parameters, task, config.optim))
    ema = EMA(task, config.ema_decay, topology.local)
    load_state(task, ema, topology, saved)

    # 4. Steps
    def save() -> None:
        accelerator.wait_for_everyone()
        state = whole_state(task, ema, topology)
        if main:
            told, kept = {**identity, **gradients.told(step)}, config.checkpoints_kept
            save_checkpoint(folder / "checkpoints", step, told, state, kept)

    with contextlib.closing(Monitor(recipe, task.label, config, step, main)) as monitor:
        with graceful_stop() as stop, contextlib.closing(monitor.progress):
            while step < config.num_steps:
                lr = learning_rate(step, config.num_steps, config.optim)
                losses = optimizer_step(task, config, recipe, topology, gradients, loader, step, lr)
                step += 1
                ema.update(step)
                monitor.log(step, losses, lr)
                if monitor.is_watched(step):
                    with torch.no_grad(), topology.averaged(task, ema) as averaged:
                        monitor.watch(step, averaged, data["validation"], recipe.seed)
                monitor.restart_clock(step)
                interrupted = topology.anywhere(stop.asked)  # they leave after the same step
                if interrupted or (step % config.checkpoint_every == 0 and step < config.num_steps):
                    save()
                if interrupted:
                    raise TrainingInterrupted(
                        f"{task.label} stopped at step {step}; rerun the same command to go on"
                    )

        # 5. Export of the averaged weights
        with torch.no_grad(), topology.averaged(task, ema) as averaged:
            if main:
                told = {"data": data_hash(recipe), **gradients.told(step)}
                export = folder / "export"
                export_stage(averaged, export, identity["fingerprint"], step, monitor, told)
        accelerator.wait_for_everyone()


def optimizer_step(
    task: Task,
    config: StageConfig,
    recipe: Recipe,
    topology: Topology,
    gradients: Gradients,
    loader: Iterator[Any],
    step: int,
    lr: float,
) -> dict[str, torch.Tensor]:
    """One update from the global batch, after `step` others; returns its mean losses. Raises
    NonFiniteLossError."""
    rank, device = topology.accelerator.process_index, topology.accelerator.device
    for group in topology.optimizer.param_groups:
        group["lr"] = lr
    torch.manual_seed(derive_seed(recipe.seed, task.label, step, rank))  # dropout
    topology.model.train()

    # forward and backward, one micro-batch after the other
    totals: dict[str, torch.Tensor] = {}
    size, micro_rows = gradients.order.step_rows(step)
    draws = Draws(recipe.seed, task.label, step, size, range(0), device)
    for micro, rows in enumerate(micro_rows):
        for name, value in gradients.add(next(loader), draws.of(rows), step, micro).items():
            totals[name] = totals.get(name, 0.0) + value

    # update
    totals, norm = topology.mean(totals), gradients.finish(step)
    if _reads_device(step + 1, config, topology) and not all(
        math.isfinite(float(v)) for v in (*totals.values(), norm)
    ):
        values = {k: float(v) for k, v in totals.items()}
        raise NonFiniteLossError(
            f"{task.label}, step {step + 1}: losses {values}, gradient norm {float(norm)}"
        )
    if not topology.step():
        raise NonFiniteLossError(f"{task.label}, step {step + 1}: gradients that are not finite")
    return totals


def _reads_device(step: int, config: StageConfig, topology: Topology) -> bool:
    """Whether the host may wait for the device after this step: on a GPU only where something is
    logged or saved."""
    due = (
        step % config.log_every == 0
        or step % config.checkpoint_every == 0
        or step == config.num_steps
    )
    return due or topology.accelerator.device.type == "cpu"
