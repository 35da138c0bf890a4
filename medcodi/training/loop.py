"""The only training loop. A stage is a task; the loop knows accumulation, EMA, logging, validation,
previews, checkpoints and exact resume, and nothing about stages. How processes share the work is
the topology's (topology.py)."""

import contextlib
import dataclasses
import json
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from medcodi.config import OptimConfig, Recipe, StageConfig, fingerprint, save_yaml, to_dict
from medcodi.files import written
from medcodi.nn.seeding import derive_seed
from medcodi.training.checkpoint import read_checkpoint, save_checkpoint, write_error
from medcodi.training.draws import Draws, StepSampler, micro_batch_rows
from medcodi.training.ema import EMA
from medcodi.training.loading import batches
from medcodi.training.optimizer import build_optimizer
from medcodi.training.parallel.topology import Topology, start
from medcodi.training.speed import memory_advice, speed_up
from medcodi.training.task import Task
from medcodi.training.tracking import MetricsFile, ProgressLine, environment

logger = logging.getLogger(__name__)
DONE = "done.json"
NO_INFLUENCE = (
    "modality",
    "log_every",
    "validate_every",
    "validation_batches",
    "preview_every",
    "checkpoint_every",
    "checkpoints_kept",
    "per_modality",
    "channels_last",
    "compile",
    "gradient_checkpointing",
)


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; names stage, modality and step."""


class TrainingInterrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM: the state was saved, rerun the same command to go on."""


def lr_factor(step: int, num_steps: int, optim: OptimConfig) -> float:
    """Linear warm-up, cosine decay to min_lr_ratio: a function of the step alone."""
    if step < optim.warmup_steps:
        return (step + 1) / optim.warmup_steps
    progress = (step - optim.warmup_steps) / max(1, num_steps - optim.warmup_steps)
    return optim.min_lr_ratio + (1 - optim.min_lr_ratio) * 0.5 * (
        1 + math.cos(math.pi * min(progress, 1.0))
    )


@contextlib.contextmanager
def graceful_stop() -> Iterator[dict[str, bool]]:
    """Ctrl-C and SIGTERM set `stop`; the loop saves and leaves after the step in flight."""
    state = {"stop": False}
    previous = {}

    def handle(number: int, frame: Any) -> None:
        if state["stop"] and number == signal.SIGINT:
            raise KeyboardInterrupt
        state["stop"] = True

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, handle)
    except ValueError:  # not in the main thread: the caller's handlers stay
        pass
    try:
        yield state
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_identity(task: Task, config: StageConfig, seed: int) -> dict[str, Any]:
    """What must be equal for a checkpoint to be resumed or an export to be reused: its
    `fingerprint`, and what that is made from, to tell what differs."""
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in NO_INFLUENCE}
    if not task.accumulation_changes:
        settings["gradient_accumulation_steps"] = 1
    built_on = task.dependencies()
    return {
        "fingerprint": fingerprint([task.label, built_on, settings, seed]),
        "seed": seed,
        task.label.split("/")[0]: settings,
        "what it is built on (hash)": fingerprint(built_on),
    }


def fit(task: Task, config: StageConfig, recipe: Recipe) -> Path:
    """Train `task` into `runs/NAME/LABEL` and return its export folder. Rerunning the same command
    resumes.

    Raises NonFiniteLossError, TrainingInterrupted (state saved), CheckpointError (disk full,
    damaged file), TooLittleMemoryError, ValueError (other recipe, processes that cannot train
    this).
    """
    folder = recipe.run_dir / task.label
    with contextlib.closing(start(config, task.find_unused_parameters)) as topology:
        identity = run_identity(task, config, recipe.seed)
        if _is_done(folder / "export" / DONE, identity["fingerprint"]):
            logger.info("%s is complete: %s", task.label, folder / "export")
            return folder / "export"
        with memory_advice(task, config, topology.accelerator.num_processes):
            _train(task, config, recipe, folder, topology, identity)
    return folder / "export"


def _is_done(path: Path, key: str) -> bool:
    """Whether the export beside `path` is that of `key`. One that a full disk cut short says
    nothing."""
    try:
        return json.loads(path.read_text())["fingerprint"] == key
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _describe(recipe: Recipe, folder: Path, accelerator: Accelerator) -> None:
    """config.yaml and environment.json of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    save_yaml(to_dict(recipe), folder / "config.yaml")
    described = environment(accelerator.device, accelerator.num_processes)
    (folder / "environment.json").write_text(json.dumps(described, indent=2))


def _train(
    task: Task,
    config: StageConfig,
    recipe: Recipe,
    folder: Path,
    topology: Topology,
    identity: dict,
) -> None:
    optim, accelerator = config.optim, topology.accelerator
    main = accelerator.is_main_process
    micro_rows = micro_batch_rows(
        config.batch_size,
        config.gradient_accumulation_steps,
        accelerator.num_processes,
        accelerator.process_index,
    )
    task.to(accelerator.device)
    speed_up(task, config)
    step, saved = read_checkpoint(folder / "checkpoints", identity, task)
    if main:  # a refused checkpoint keeps what describes it
        _describe(recipe, folder, accelerator)
    data = task.dataset("train")
    task.dataset("validation")  # both fill their caches here, where all processes are
    task.begin()
    ema = _prepare(task, config, topology, saved)
    optimizer = topology.optimizer
    sampler = StepSampler(
        len(data),
        derive_seed(recipe.seed, task.label),
        config.batch_size,
        micro_rows,
        step,
        config.num_steps,
    )
    loader = batches(data, sampler, recipe.data, accelerator.device)
    metrics = MetricsFile(folder / "metrics.jsonl", step) if main else None
    progress = ProgressLine(task.label, step, config.num_steps, main)
    clock, clock_step = time.perf_counter(), step

    def save() -> None:
        accelerator.wait_for_everyone()
        state = _state(task, ema, topology)
        if main:
            save_checkpoint(folder / "checkpoints", step, identity, state, config.checkpoints_kept)

    with graceful_stop() as signals, contextlib.closing(progress):
        while step < config.num_steps:
            for group in optimizer.param_groups:
                group["lr"] = optim.lr * lr_factor(step, config.num_steps, optim)
            losses = _step(task, config, recipe, topology, loader, micro_rows, step)
            step += 1
            ema.update(step)
            progress.advance(step)
            if step % config.log_every == 0 or step == config.num_steps:
                sec_per_step = (time.perf_counter() - clock) / (step - clock_step)
                row = {k: float(v) for k, v in losses.items()}
                progress.log(step, row, sec_per_step)
                if metrics:
                    lr = optimizer.param_groups[0]["lr"]
                    metrics.write(
                        {
                            "step": step,
                            "split": "train",
                            **row,
                            "lr": lr,
                            "sec_per_step": sec_per_step,
                        }
                    )
            _watch(task, ema, config, recipe, folder, topology, metrics, step)
            if step % config.log_every == 0 or step == config.num_steps:
                clock, clock_step = time.perf_counter(), step
            if topology.anywhere(signals["stop"]):  # they leave after the same step
                save()
                raise TrainingInterrupted(
                    f"{task.label} stopped at step {step}; rerun the same command to go on"
                )
            if step % config.checkpoint_every == 0 and step < config.num_steps:
                save()
    with torch.no_grad(), topology.averaged(task, ema) as averaged:
        if main:
            _export(averaged, folder, identity["fingerprint"], step, metrics)
    accelerator.wait_for_everyone()


def _prepare(
    task: Task, config: StageConfig, topology: Topology, saved: dict[str, Any] | None
) -> EMA:
    """Model and optimizer of the topology and the average of the weights, as `saved` in a
    checkpoint where there is one."""
    topology.prepare(task, lambda parameters: build_optimizer(parameters, task, config.optim))
    ema = EMA(task, config.ema_decay, topology.local)
    if saved:
        topology.load_optimizer_state(saved["optimizer"])
        ema.load_state_dict(_mapped(task, saved["ema"], topology.part))
    return ema


@torch.no_grad()
def _watch(
    task: Task,
    ema: EMA,
    config: StageConfig,
    recipe: Recipe,
    folder: Path,
    topology: Topology,
    metrics: MetricsFile | None,
    step: int,
) -> None:
    """Validation and preview with the averaged weights, where they are due."""
    validate = _due(step, config.validate_every, config.num_steps)
    preview = _due(step, config.preview_every, config.num_steps)
    if not (validate or preview):
        return
    with topology.averaged(task, ema) as averaged:
        row = averaged.validate(config, recipe.seed) if validate else {}
        if metrics and validate:
            metrics.write({"step": step, "split": "validation", **row})
        if preview and topology.accelerator.is_main_process:
            _preview(averaged, folder / "previews", step)


def _step(
    task: Task,
    config: StageConfig,
    recipe: Recipe,
    topology: Topology,
    loader: Iterator[Any],
    micro_rows: list[range],
    step: int,
) -> dict[str, torch.Tensor]:
    """One optimizer step over the global batch."""
    accelerator, model = topology.accelerator, topology.model
    torch.manual_seed(
        derive_seed(recipe.seed, task.label, step, accelerator.process_index)
    )  # dropout
    model.train()
    totals: dict[str, torch.Tensor] = {}
    draws = Draws(
        recipe.seed, task.label, step, config.batch_size, micro_rows[0], accelerator.device
    )
    for index, rows in enumerate(micro_rows):
        batch = next(loader)
        last = index == len(micro_rows) - 1
        with topology.micro_batch(last), accelerator.autocast():
            losses = model(batch, draws.of(rows), step / config.num_steps)
            topology.backward(losses["loss"], last)
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + value.detach() / len(micro_rows)
    totals = topology.mean(totals)
    norm = topology.clip()
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


def _mapped(
    task: Task, tensors: dict[str, torch.Tensor], function: Callable
) -> dict[str, torch.Tensor]:
    """`function(parameter, tensor)` for tensors by the names of their parameters."""
    parameters = dict(task.named_parameters())
    return {name: function(parameters[name], tensor) for name, tensor in tensors.items()}


@torch.no_grad()
def _state(task: Task, ema: EMA, topology: Topology) -> dict[str, Any]:
    """What a checkpoint holds: whole tensors, whatever the topology. All processes call it
    together."""
    model = {n: topology.local(p) for n, p in task.named_parameters() if p.requires_grad}
    return {
        "model": _mapped(task, model, topology.whole),
        "optimizer": topology.optimizer_state(),
        "ema": _mapped(task, ema.state_dict(), topology.whole),
    }


def _due(step: int, every: int, num_steps: int) -> bool:
    return bool(every) and (step % every == 0 or step == num_steps)


def _preview(task: Task, folder: Path, step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    task.preview(folder, step)


def _export(task: Task, folder: Path, key: str, step: int, metrics: MetricsFile) -> None:
    found = task.finalize()
    metrics.write({"step": step, "split": "final", **found})
    config = {"fingerprint": key, "step": step, **found}
    try:
        task.export(folder / "export", config)
        with written(folder / "export" / DONE) as temporary:
            temporary.write_text(json.dumps({"fingerprint": key, "step": step}))
    except (OSError, SafetensorError) as error:
        raise write_error(folder / "export", error, folder / "checkpoints") from error
