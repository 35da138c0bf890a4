"""How the processes of a training share weights, gradients and optimizer state.

The loop sees one interface. `Topology` is the plain one: one process, or DDP, every process holds
everything. `sharded.py` has DeepSpeed's ZeRO and torch's fully_shard. Between runs there is one
form only, whole tensors: a checkpoint that one topology wrote resumes in any other, with any number
of processes that divides the batch.
"""

import contextlib
import copy
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import nn

from medcodi.config import StageConfig
from medcodi.nn.precision import computed_in
from medcodi.training.draws import micro_batch_rows

if TYPE_CHECKING:
    from medcodi.training.ema import EMA
    from medcodi.training.task import Task

ZERO, SHARD, ON_CPU = "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP", "ACCELERATE_USE_CPU"
_CPU_LAUNCH = (
    "`ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node N train/STAGE.py ...`"
)
# what a launcher that starts one process a task tells each of them
SIZES = (
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)


class TopologyError(ValueError):
    """The processes that run are not those that were asked for, or cannot train this stage."""


def check_processes(started: int, environment: Mapping[str, str]) -> None:
    """TopologyError when a launcher was asked for more processes than `started`: each would train
    the whole stage alone.

    `accelerate launch` sets MASTER_ADDR for --num_processes above 1, but without GPUs it starts one
    process, with no WORLD_SIZE.
    """
    for name in SIZES:
        asked = environment.get(name, "")
        if asked.isdigit() and int(asked) > started:
            raise TopologyError(
                f"{asked} processes were asked for ({name}={asked}), but this training runs with "
                f"{started}. Start them on "
                "GPUs with `accelerate launch --num_processes N` or `torchrun --nproc_per_node N "
                "train/STAGE.py ...`, "
                f"without (where accelerate launch starts one) with {_CPU_LAUNCH}. If {started} is "
                f"meant, unset {name}"
            )
    launched = "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_ADDR" in environment
    if started == 1 and launched and not any(name in environment for name in SIZES):
        raise TopologyError(
            "accelerate launch was asked for several processes (it set MASTER_ADDR), but it "
            "started one, as it does where "
            "torch sees no GPU. If there is one, look at nvidia-smi and CUDA_VISIBLE_DEVICES. "
            "Several CPU processes: "
            f"{_CPU_LAUNCH}. If one is meant: --num_processes 1, and unset MASTER_ADDR"
        )


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


def start(config: StageConfig, find_unused_parameters: bool) -> "Topology":
    """The topology that the launcher's environment asks for. TopologyError when it is not what
    runs."""
    # accelerate keeps the precision of the first stage of a process for all others
    AcceleratorState._reset_state()
    kwargs: list[Any] = [
        DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters)
    ]
    zero, shard = _is_set(ZERO), _is_set(SHARD)
    if (zero or shard) and "RANK" not in os.environ:
        raise TopologyError(
            "ZeRO and FSDP need a launcher: start with `accelerate launch --config_file ...` or "
            "torchrun"
        )
    if zero and _is_set(ON_CPU):
        raise TopologyError(
            f"accelerate leaves DeepSpeed out when {ON_CPU} is set: unset it, without a GPU the "
            "CPU is used"
        )
    if zero and not torch.cuda.is_available():
        kwargs.append(InitProcessGroupKwargs(backend="gloo"))
    on_gpu = torch.cuda.is_available() and not _is_set(ON_CPU)
    precision = computed_in(config.mixed_precision, torch.device("cuda" if on_gpu else "cpu"))
    precision = "no" if zero else precision  # DeepSpeed has autocast of its own
    with _without(SHARD):
        # accelerate's FSDP does not shard on a CPU, and says nothing: sharded.py calls torch's
        # itself
        accelerator = Accelerator(mixed_precision=precision, kwargs_handlers=kwargs)
    check_processes(accelerator.num_processes, os.environ)
    if zero or shard:
        from medcodi.training.parallel.sharded import FullyShard, Zero  # DeepSpeed is an extra

        return (Zero if zero else FullyShard)(accelerator, config)
    return Topology(accelerator, config)


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


class Topology:
    """Every process holds all weights; DDP averages the gradients."""

    def __init__(self, accelerator: Accelerator, config: StageConfig) -> None:
        self.accelerator, self.config = accelerator, config
        self.optimizer: Any = None
        self.model: Any = None

    @functools.cached_property
    def micro_rows(self) -> list[range]:
        """Positions in the global batch of each micro-batch of this process. ValueError when the
        batch does not divide."""
        return micro_batch_rows(
            self.config.batch_size,
            self.config.gradient_accumulation_steps,
            self.accelerator.num_processes,
            self.accelerator.process_index,
        )

    def prepare(
        self, task: "Task", make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    ) -> None:
        """Take the task, weights loaded, on its device; makes `model` and `optimizer`."""
        self.parameters = [p for p in task.parameters() if p.requires_grad]
        self.model, self.optimizer = self.accelerator.prepare(task, make_optimizer(self.parameters))

    def micro_batch(self, last: bool) -> contextlib.AbstractContextManager:
        """Around forward and backward: gradients are averaged over the processes after the `last`
        one only."""
        return contextlib.nullcontext() if last else self.accelerator.no_sync(self.model)

    def backward(self, loss: torch.Tensor, last: bool) -> None:
        """Gradients of `loss`, one of `gradient_accumulation_steps` of this step."""
        self.accelerator.backward(loss / self.config.gradient_accumulation_steps)

    def clip(self) -> torch.Tensor | float:
        """Clip the gradients. Returns their norm before. What a step did not use has the gradient
        zero, as ZeRO and FSDP give it: an optimizer would pass over None."""
        for parameter in self.parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return self.accelerator.clip_grad_norm_(self.parameters, self.config.optim.max_grad_norm)

    def step(self) -> bool:
        """Update, and forget the gradients. False when nothing was updated, because they are not
        finite."""
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return True

    def mean(self, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Means of scalars over the processes, in one reduction on the device (nccl refuses tensors
        in CPU memory)."""
        if self.accelerator.num_processes == 1:
            return losses
        device = self.accelerator.device
        stacked = torch.stack(
            [value.float().to(device, non_blocking=True) for value in losses.values()]
        )
        return dict(zip(losses, self.accelerator.reduce(stacked, "mean"), strict=True))

    @functools.cached_property
    def _hosts(self) -> dist.ProcessGroup:
        """The processes, talking through CPU memory: nobody waits for a device."""
        return dist.new_group(backend="gloo")

    def anywhere(self, flag: bool) -> bool:
        """Whether `flag` is set in any process; all call it together."""
        if self.accelerator.num_processes == 1:
            return flag
        told = torch.tensor(int(flag))
        dist.all_reduce(told, dist.ReduceOp.MAX, group=self._hosts)
        return bool(told)

    def local(self, parameter: nn.Parameter) -> torch.Tensor:
        """What this process keeps of a parameter: the tensor itself, it follows the training."""
        return parameter.detach()

    def part(self, parameter: nn.Parameter, whole: torch.Tensor) -> torch.Tensor:
        """What this process keeps of `whole`, a tensor of the parameter's size."""
        return whole

    def whole(self, parameter: nn.Parameter, part: torch.Tensor) -> torch.Tensor:
        """Inverse of `part`; all processes call it together."""
        return part

    def optimizer_state(self) -> dict[str, Any]:
        """As `torch.optim.Optimizer.state_dict`, with whole tensors; all processes call it
        together."""
        return self.optimizer.state_dict()

    def load_optimizer_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(copy.deepcopy(state))  # not the mapped file itself

    @contextlib.contextmanager
    def averaged(self, task: "Task", ema: "EMA") -> Iterator["Task"]:
        """The task with its averaged weights, in evaluation mode, to use without the other
        processes; all enter together."""
        task.eval()
        with ema.applied():
            yield task

    def close(self) -> None:
        """After training: give back what the topology holds."""
        if "_hosts" in vars(self):
            dist.destroy_process_group(self._hosts)
