"""Options that make a step faster or smaller and leave what it computes as it is, but for the rounding of sums."""

import contextlib
import functools
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from medcodi.config import StageConfig
from medcodi.training.task import Task

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")  # the last: cuBLAS, cuDNN


class TooLittleMemoryError(RuntimeError):
    """A step needs more memory than there is; names the settings that reduce it."""


def blocks(module: nn.Module) -> list[nn.Module]:
    """The repeated parts of a network, without overlap: the members of its outermost ModuleLists."""
    found = []
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            found += [x for x in child if x is not None and any(True for _ in x.parameters())]
        else:
            found += blocks(child)
    return found


def speed_up(module: nn.Module, config: StageConfig) -> None:
    """Apply `channels_last`, `gradient_checkpointing` and `compile` of a stage to its networks, in place."""
    if config.channels_last:
        module.to(memory_format=torch.channels_last)
    for block in blocks(module):
        if config.gradient_checkpointing:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
        if config.compile:
            block.compile()


@contextlib.contextmanager
def memory_advice(task: Task, config: StageConfig, num_processes: int) -> Iterator[None]:
    """Raises TooLittleMemoryError for what torch and Python raise when memory is short."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        short = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(x in str(error) for x in NO_MEMORY)
        if not short:
            raise
        rows = config.batch_size // config.gradient_accumulation_steps // num_processes
        changed = task.accumulation_changes
        anew = "gradient_accumulation_steps or mixed_precision" if changed else "mixed_precision"
        raise TooLittleMemoryError(
            f"{task.label}: too little memory for a micro-batch of {rows} rows. Three settings reduce it: "
            f"gradient_accumulation_steps (now {config.gradient_accumulation_steps}; more make smaller micro-batches "
            f"of the same batch_size{f', which changes {changed}' if changed else ''}), "
            f"gradient_checkpointing=true (now {str(config.gradient_checkpointing).lower()}), "
            f"mixed_precision=bf16 (now {config.mixed_precision}). With another {anew} the stage begins anew, otherwise its "
            f"checkpoint resumes. It said: {(str(error).splitlines() or [''])[0]}"
        ) from error
