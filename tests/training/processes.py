"""Two processes of one training, forked from the test: what torchrun starts, without importing
torch twice more."""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable

from accelerate.state import AcceleratorState

CPU = {"ACCELERATE_USE_CPU": "true"}
TOPOLOGIES = {
    "ddp": CPU,
    "zero2": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"},
    "zero3": {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
    "fsdp2": {**CPU, "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"},
}


def in_processes(count: int, topology: str, function: Callable[[int], None]) -> list[int]:
    """Exit codes of `count` processes that call `function(rank)`; as with torchrun, one that fails
    ends the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = {}
    for rank in range(count):
        sizes = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "RANK": rank, "LOCAL_RANK": rank}
        process = os.fork()
        if process == 0:
            os.environ |= {
                **rendezvous,
                **TOPOLOGIES[topology],
                **{k: str(v) for k, v in sizes.items()},
            }
            if topology.startswith("zero"):
                _without_compiling()
            _call(function, rank)
        ranks[process] = rank
    codes = [0] * count
    while ranks:
        time.sleep(0.05)
        for process in list(ranks):
            done, status = os.waitpid(process, os.WNOHANG)
            if not done:
                continue
            rank = ranks.pop(process)
            codes[rank] = os.waitstatus_to_exitcode(status)
            if codes[rank]:  # the others find out by themselves, or are told to stop
                for other in ranks:
                    os.kill(other, signal.SIGTERM)
    return codes


def _without_compiling() -> None:
    """On the first run of a machine DeepSpeed compiles collectives in shared memory, which takes a
    minute; without them it takes gloo's."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def _call(function: Callable[[int], None], rank: int) -> None:
    code = 1
    try:
        AcceleratorState._reset_state(reset_partial_state=True)  # that of the test, one process
        function(rank)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
