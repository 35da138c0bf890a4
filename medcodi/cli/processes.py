"""Generation in several processes: which part this one makes, on which device. The processes
exchange nothing, so they need not meet."""

import os

import torch

from medcodi.training.parallel.topology import TopologyError, check_processes

ON_CPU = (
    "`accelerate launch --cpu --num_processes N` starts one: on a CPU use ACCELERATE_USE_CPU=true "
    "torchrun --nproc_per_node N"
)


def launched_shard(expected: int | None = None) -> tuple[int, int]:
    """(this process, number of processes) as accelerate launch and torchrun tell them; (0, 1)
    without a launcher.

    Raises ValueError when other than `expected` processes run, or when a launcher was asked for
    more: each would generate everything.
    """
    index, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if expected not in (None, count):
        raise ValueError(f"expected {expected} processes, {count} run; {ON_CPU}")
    try:
        check_processes(count, os.environ)
    except TopologyError as error:
        script = "scripts/generate_dataset.py"
        raise ValueError(str(error).replace("train/STAGE.py", script)) from error
    return index, count


def launched_device() -> str:
    """The GPU of this process; the CPU where there is none, or where accelerate was told so."""
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    if on_cpu or not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
