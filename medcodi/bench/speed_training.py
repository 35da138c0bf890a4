"""Speed of training: a step of stage 2 with each optimisation on and off, beside a plain loop
(`eval/speed.py`).

Legend: B batch.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from medcodi.config import StageConfig
from medcodi.config_io import for_modality
from medcodi.nn.rows import spread
from medcodi.training.cached import CachedBatch
from medcodi.training.draws import Draws
from medcodi.training.ema import EMA
from medcodi.training.run import Run
from medcodi.training.speed import speed_up
from medcodi.training.task import to_device
from medcodi.training.tasks.stage2 import Stage2Task

Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Training:
    """One row: a training step of stage 2 with these settings."""

    cache: bool = True
    precision: str = "float32"
    sdpa: bool = True
    channels_last: bool = False
    compiled: bool = False
    optimizer: str = "fused"  # fused | foreach | loop
    checkpointing: bool = False
    ema: str = "foreach"  # foreach | loop | off


REFERENCE = Training(cache=False, sdpa=False, optimizer="loop", ema="loop")


class Trainer:
    """Steps of stage 2 of one modality."""

    def __init__(self, run: Run, name: str, options: Training, device: torch.device) -> None:
        self.run, self.name, self.options, self.device = run, name, options, device
        self.batch_size = for_modality(run.recipe.stage2, name).batch_size
        self.task = Stage2Task(run, name).to(device)
        (run.folder / self.task.label).mkdir(parents=True, exist_ok=True)
        self.data = self.task.dataset("train")
        self.parameters = [p for p in self.task.parameters() if p.requires_grad]
        speed_up(
            self.task,
            StageConfig(
                channels_last=options.channels_last,
                gradient_checkpointing=options.checkpointing,
                compile=options.compiled,
            ),
        )
        how = {
            "fused": {"fused": True},
            "foreach": {"foreach": True},
            "loop": {"foreach": False, "fused": False},
        }
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-4, **how[options.optimizer])
        self.ema = EMA(self.task, 0.0 if options.ema == "off" else 0.999)
        names = [name, *self.task.diffusion.fusion.names]
        self.raw = None if options.cache else run.data("train", names)
        if self.raw is not None:
            self.space = run.shared_space().to(device)
            self.autoencoders = {
                n: run.autoencoder(run.family.modality(n).group).to(device) for n in names
            }

    def batch(self, step: int) -> CachedBatch:
        rows = [(step * self.batch_size + i) % len(self.data) for i in range(self.batch_size)]
        return to_device(self.data[rows], self.device) if self.raw is None else self.encode(rows)

    @torch.no_grad()
    def encode(self, rows: list[int]) -> CachedBatch:
        """What the cache would hold, from the stored values: zeros for a study that lacks one."""
        studies = self.raw.batch(self.data.studies[rows])
        latents, encodings, present = {}, {}, {}
        for name in (self.name, *self.task.diffusion.fusion.names):
            given = torch.tensor(
                [name in study.values for study in studies], device=self.device
            )  # (B,)
            values = self.run.family.modality(name).collate(
                [s.values[name] for s in studies if name in s.values]
            )
            values, present[name] = to_device(values, self.device), given
            if name == self.name or self.run.recipe.diffusion.prompt_latents:
                latents[name] = spread(self.autoencoders[name].encode(values), given)
            if name != self.name:
                encodings[name] = self.space.encode(name, values).map(
                    lambda x, given=given: spread(x, given)
                )
                encodings[name].latents = latents.pop(name, None)
        return CachedBatch(latents, encodings, present)

    def forward(self, batch: CachedBatch, step: int) -> torch.Tensor:
        draws = Draws(
            0, self.task.label, step, self.batch_size, range(self.batch_size), self.device
        )
        with autocast(self.options.precision, self.device):
            return self.task(batch, draws, 0.0)["loss"]

    def step(self, step: int) -> None:
        self.task.train()
        with attention(self.options.sdpa):
            self.forward(self.batch(step), step).backward()
        torch.nn.utils.clip_grad_norm_(
            self.parameters, 1.0, foreach=self.options.optimizer != "loop"
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.options.ema == "loop":
            for shadow, parameter in zip(self.ema.shadow, self.parameters, strict=True):
                shadow.lerp_(parameter.detach(), 0.001)
        else:
            self.ema.update(step)

    def figures(self) -> dict[str, float]:
        """FLOPs of forward and backward, MiB that backward keeps (weights left out), MiB of the
        state."""
        kept: dict[int, int] = {}
        weights = {p.untyped_storage().data_ptr() for p in self.parameters}

        def pack(x: torch.Tensor) -> torch.Tensor:
            storage = x.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return x

        batch = self.batch(0)
        eager = torch.compiler.set_stance(
            "force_eager"
        )  # the counter sees no operation inside a compiled block
        with eager, attention(False), FlopCounterMode(display=False) as counter:
            self.forward(batch, 0).backward()
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x),
            attention(self.options.sdpa),
        ):
            loss = self.forward(batch, 0)
        del loss
        self.optimizer.zero_grad(set_to_none=True)
        state = sum(p.nbytes for p in self.parameters) * (4 + (self.options.ema != "off"))
        return {
            "flops": float(counter.get_total_flops()),
            "activations_mib": sum(kept.values()) / 2**20,
            "state_mib": state / 2**20,
        }


def attention(fused: bool) -> Any:
    return contextlib.nullcontext() if fused else sdpa_kernel(SDPBackend.MATH)


def autocast(precision: str, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def fastest(
    works: dict[str, Callable[[], None]], repeats: int, device: torch.device, warm_up: bool = True
) -> dict[str, float]:
    """Seconds of each work: the least of `repeats` rounds in which every one has its turn, after
    one to warm up."""
    seconds = dict.fromkeys(works, float("inf"))
    for turn in range(0 if warm_up else 1, repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of some square matrix products: what this machine can do, as the base
    of MFU."""
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device, dtype=dtype)
    seconds = fastest({"product": lambda: torch.mm(a, a)}, 5, device)["product"]
    return 2 * side**3 / seconds


def training_options(compiled: bool, device: torch.device) -> dict[str, Training]:
    base = Training(precision="bfloat16" if device.type == "cuda" else "float32", compiled=compiled)
    rows = {
        "reference": REFERENCE,
        "medcodi": base,
        "without cache": replace(base, cache=False),
        "precision: float32" if base.precision == "bfloat16" else "precision: bfloat16": replace(
            base, precision="float32" if base.precision == "bfloat16" else "bfloat16"
        ),
        "without SDPA": replace(base, sdpa=False),
        "with channels_last": replace(base, channels_last=True),
        "optimizer: foreach": replace(base, optimizer="foreach"),
        "optimizer: loop": replace(base, optimizer="loop"),
        "with gradient checkpointing": replace(base, checkpointing=True),
        "EMA: loop": replace(base, ema="loop"),
        "EMA: off": replace(base, ema="off"),
    }
    return rows | ({"without torch.compile": replace(base, compiled=False)} if compiled else {})


def measure_training(
    run: Run, name: str, rows: dict[str, Training], repeats: int, device: torch.device
) -> Table:
    trainers = {key: Trainer(run, name, options, device) for key, options in rows.items()}
    counts = dict.fromkeys(trainers, 0)

    def work(key: str) -> None:
        trainers[key].step(counts[key])
        counts[key] += 1

    seconds = fastest({key: lambda key=key: work(key) for key in trainers}, repeats, device)
    peaks = {
        "float32": peak_flops(device, torch.float32),
        "bfloat16": peak_flops(device, torch.bfloat16),
    }
    flops = trainers["medcodi"].figures()[
        "flops"
    ]  # of every row: what a row computes twice or encodes anew is no use
    table = []
    for key, trainer in trainers.items():
        figures = trainer.figures() | {"flops": flops}
        rate = flops / seconds[key]
        table.append(
            {
                "row": key,
                "ms": 1e3 * seconds[key],
                "per_second": trainer.batch_size / seconds[key],
                "ratio": seconds["reference"] / seconds[key],
                "mfu": rate / peaks[trainer.options.precision],
                **figures,
                "settings": asdict(trainer.options),
            }
        )
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            work(key)
            table[-1]["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return table
