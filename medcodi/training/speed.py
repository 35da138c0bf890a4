"""Options that make a step faster or smaller and leave what it computes as it is, but for the
rounding of sums."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from medcodi.config import StageConfig
from medcodi.nn.blocks import checkpoint_blocks, compile_blocks
from medcodi.nn.memory import TooLittleMemoryError, is_short_of_memory
from medcodi.training.task import Task


def speed_up(module: nn.Module, config: StageConfig) -> None:
    """Apply `channels_last`, `gradient_checkpointing` and `compile` of a stage to its networks, in
    place."""
    if config.channels_last:
        module.to(memory_format=torch.channels_last)
    if config.gradient_checkpointing:
        checkpoint_blocks(module)
    if config.compile:
        compile_blocks(module)


@contextlib.contextmanager
def memory_advice(task: Task, config: StageConfig, num_processes: int) -> Iterator[None]:
    """Raises TooLittleMemoryError for what torch and Python raise when memory is short."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_short_of_memory(error):
            raise
        rows = config.batch_size // config.gradient_accumulation_steps // num_processes
        changed = task.accumulation_changes
        anew = "gradient_accumulation_steps or mixed_precision" if changed else "mixed_precision"
        raise TooLittleMemoryError(
            f"{task.label}: too little memory for a micro-batch of {rows} rows. Three settings "
            "reduce it: "
            f"gradient_accumulation_steps (now {config.gradient_accumulation_steps}; more make "
            "smaller micro-batches "
            f"of the same batch_size{f', which changes {changed}' if changed else ''}), "
            f"gradient_checkpointing=true (now {str(config.gradient_checkpointing).lower()}), "
            f"mixed_precision=bf16 (now {config.mixed_precision}). With another {anew} the stage "
            "begins anew, otherwise its "
            f"checkpoint resumes. It said: {(str(error).splitlines() or [''])[0]}"
        ) from error
