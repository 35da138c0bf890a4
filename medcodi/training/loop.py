"""The only training loop. A stage is a task; the loop knows accelerate, accumulation, clipping, EMA, logging, validation,
previews, checkpoints and exact resume, and nothing about stages."""

import contextlib
import dataclasses
import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from safetensors import SafetensorError
from torch.utils.data import DataLoader

from medcodi.config import OptimConfig, Recipe, StageConfig, fingerprint, save_yaml, to_dict
from medcodi.nn.seeding import derive_seed
from medcodi.training.checkpoint import load_checkpoint, save_checkpoint, write_error
from medcodi.training.draws import Draws, StepSampler, micro_batch_rows
from medcodi.training.ema import EMA
from medcodi.training.task import Task, to_device
from medcodi.training.tracking import MetricsFile, ProgressLine, environment

logger = logging.getLogger(__name__)
DONE = "done.json"
NO_INFLUENCE = ("modality", "log_every", "validate_every", "validation_batches", "preview_every", "checkpoint_every",
                "checkpoints_kept", "per_modality")  # fmt: skip


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; names stage, modality and step."""


class TrainingInterrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM: the state was saved, rerun the same command to go on."""


def lr_factor(step: int, num_steps: int, optim: OptimConfig) -> float:
    """Linear warm-up, cosine decay to min_lr_ratio: a function of the step alone."""
    if step < optim.warmup_steps:
        return (step + 1) / optim.warmup_steps
    progress = (step - optim.warmup_steps) / max(1, num_steps - optim.warmup_steps)
    return optim.min_lr_ratio + (1 - optim.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


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


def _identity(batch: Any) -> Any:
    return batch


def run_fingerprint(task: Task, config: StageConfig, seed: int) -> str:
    """What must be equal for a checkpoint to be resumed or an export to be reused."""
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in NO_INFLUENCE}
    return fingerprint([task.label, task.dependencies(), settings, seed])


def fit(task: Task, config: StageConfig, recipe: Recipe) -> Path:
    """Train `task` into `runs/NAME/LABEL` and return its export folder. Rerunning the same command resumes.

    Raises NonFiniteLossError, TrainingInterrupted (state saved), CheckpointError (disk full), ValueError (other recipe).
    """
    folder = recipe.run_dir / task.label
    kwargs = [DistributedDataParallelKwargs(find_unused_parameters=task.find_unused_parameters)]
    AcceleratorState._reset_state()  # accelerate keeps the precision of the first stage of a process for all others
    accelerator = Accelerator(mixed_precision=config.mixed_precision, kwargs_handlers=kwargs)
    key = run_fingerprint(task, config, recipe.seed)
    done = folder / "export" / DONE
    if done.is_file() and json.loads(done.read_text())["fingerprint"] == key:
        logger.info("%s is complete: %s", task.label, folder / "export")
        return folder / "export"
    folder.mkdir(parents=True, exist_ok=True)
    if accelerator.is_main_process:
        save_yaml(to_dict(recipe), folder / "config.yaml")
        described = environment(accelerator.device, accelerator.num_processes)
        (folder / "environment.json").write_text(json.dumps(described, indent=2))
    _train(task, config, recipe, folder, accelerator, key)
    return folder / "export"


def _train(
    task: Task, config: StageConfig, recipe: Recipe, folder: Path, accelerator: Accelerator, key: str
) -> None:
    optim, main = config.optim, accelerator.is_main_process
    trainable = [p for p in task.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trainable, lr=optim.lr, betas=tuple(optim.betas), weight_decay=optim.weight_decay, fused=True
    )
    task.to(accelerator.device)
    ema = EMA(task, config.ema_decay)
    step = load_checkpoint(folder / "checkpoints", key, task, optimizer, ema)
    model, optimizer = accelerator.prepare(task, optimizer)

    micro_rows = micro_batch_rows(
        config.batch_size, config.gradient_accumulation_steps, accelerator.num_processes, accelerator.process_index
    )
    with accelerator.main_process_first():  # it fills the caches that the others read
        data = task.dataset("train")
        task.dataset("validation")
    task.begin()
    sampler = StepSampler(len(data), derive_seed(recipe.seed, task.label), config.batch_size, micro_rows, step,
                          config.num_steps)  # fmt: skip
    loader = iter(
        DataLoader(data, batch_size=None, sampler=sampler, num_workers=recipe.data.num_workers, collate_fn=_identity)
    )
    metrics = MetricsFile(folder / "metrics.jsonl", step) if main else None
    progress = ProgressLine(task.label, step, config.num_steps, main)
    clock, clock_step = time.perf_counter(), step

    def save() -> None:
        accelerator.wait_for_everyone()
        if main:
            save_checkpoint(folder / "checkpoints", step, key, task, optimizer, ema, config.checkpoints_kept)

    with graceful_stop() as signals, contextlib.closing(progress):
        while step < config.num_steps:
            for group in optimizer.param_groups:
                group["lr"] = optim.lr * lr_factor(step, config.num_steps, optim)
            losses = _step(model, task, config, recipe, accelerator, optimizer, loader, micro_rows, step, trainable)
            step += 1
            ema.update(task, step)
            progress.advance(step)
            if step % config.log_every == 0 or step == config.num_steps:
                sec_per_step = (time.perf_counter() - clock) / (step - clock_step)
                row = {k: float(v) for k, v in losses.items()}
                progress.log(step, row, sec_per_step)
                if metrics:
                    lr = optimizer.param_groups[0]["lr"]
                    metrics.write({"step": step, "split": "train", **row, "lr": lr, "sec_per_step": sec_per_step})
            if _due(step, config.validate_every, config.num_steps):
                row = _evaluate(task, ema, config, recipe)
                if metrics:
                    metrics.write({"step": step, "split": "validation", **row})
            if _due(step, config.preview_every, config.num_steps) and main:
                _preview(task, ema, folder / "previews", step)
            if step % config.log_every == 0 or step == config.num_steps:
                clock, clock_step = time.perf_counter(), step
            if _anywhere(signals["stop"], accelerator):
                save()
                raise TrainingInterrupted(f"{task.label} stopped at step {step}; rerun the same command to go on")
            if step % config.checkpoint_every == 0 and step < config.num_steps:
                save()
    if main:
        _export(task, ema, folder, key, step)
    accelerator.wait_for_everyone()


def _step(
    model: Any, task: Task, config: StageConfig, recipe: Recipe, accelerator: Accelerator, optimizer: Any,
    loader: Iterator[Any], micro_rows: list[range], step: int, trainable: list[torch.nn.Parameter],
) -> dict[str, torch.Tensor]:  # fmt: skip
    """One optimizer step over the global batch."""
    torch.manual_seed(derive_seed(recipe.seed, task.label, step, accelerator.process_index))  # dropout
    model.train()
    totals: dict[str, torch.Tensor] = {}
    for index, rows in enumerate(micro_rows):
        batch = to_device(next(loader), accelerator.device)
        draws = Draws(recipe.seed, task.label, step, config.batch_size, rows)
        last = index == len(micro_rows) - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(model), accelerator.autocast():
            losses = model(batch, draws, step / config.num_steps)
            accelerator.backward(losses["loss"] / len(micro_rows))
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + value.detach() / len(micro_rows)
    if accelerator.num_processes > 1:
        totals = {name: accelerator.reduce(value, "mean") for name, value in totals.items()}
    norm = accelerator.clip_grad_norm_(trainable, config.optim.max_grad_norm)
    checked = (step + 1) % config.log_every == 0 or accelerator.device.type == "cpu"
    checked = checked or (step + 1) % config.checkpoint_every == 0 or step + 1 == config.num_steps
    if checked and not all(math.isfinite(float(v)) for v in (*totals.values(), norm)):
        values = {k: float(v) for k, v in totals.items()}
        raise NonFiniteLossError(f"{task.label}, step {step + 1}: losses {values}, gradient norm {float(norm)}")
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return totals


def _anywhere(flag: bool, accelerator: Accelerator) -> bool:
    """Whether any process was told to stop: they leave after the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum"))


def _due(step: int, every: int, num_steps: int) -> bool:
    return bool(every) and (step % every == 0 or step == num_steps)


@torch.no_grad()
def _evaluate(task: Task, ema: EMA, config: StageConfig, recipe: Recipe) -> dict[str, float]:
    task.eval()
    with ema.applied(task):
        return task.validate(config, recipe.seed)


@torch.no_grad()
def _preview(task: Task, ema: EMA, folder: Path, step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    task.eval()
    with ema.applied(task):
        task.preview(folder, step)


@torch.no_grad()
def _export(task: Task, ema: EMA, folder: Path, key: str, step: int) -> None:
    task.eval()
    with ema.applied(task):
        config = {"fingerprint": key, "step": step, **task.finalize()}
        try:
            task.export(folder / "export", config)
            (folder / "export" / DONE).write_text(json.dumps({"fingerprint": key, "step": step}))
        except (OSError, SafetensorError) as error:
            raise write_error(folder / "export", error, folder / "checkpoints") from error
