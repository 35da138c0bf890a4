"""`medcodi generate` in many processes: each makes its own studies, on its own device; the last one
writes manifest.json.

    accelerate launch --config_file configs/accelerate/ddp.yaml scripts/generate_dataset.py
    --pipeline runs/NAME/pipeline \
        --studies runs/NAME/prepared --split train --given report --output generated

    ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node 2 scripts/generate_dataset.py ...
    --num-processes 2

Rerun the same command to go on where it stopped. Every study has its own seed and shards begin
where a batch does, so that for one batch size the files are the same, bit for bit, for any number
of processes (on one kind of device). Last line of
stdout: one JSON document a process.
"""

import argparse
import json
import logging
import os
import sys
import time
from pathlib import Path

import torch

from medcodi.generation.run import Request, generate_to_folder, parse_interval
from medcodi.training.parallel.topology import TopologyError, check_processes


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipeline", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--studies", type=Path, help="prepared folder whose studies are the prompts"
    )
    parser.add_argument("--split", default="train")
    parser.add_argument(
        "--given",
        type=names,
        default=(),
        help="with --studies: names of the values that are prompts",
    )
    parser.add_argument("--limit", type=int)
    parser.add_argument(
        "--prompt",
        dest="prompts",
        action="append",
        default=[],
        help="NAME=VALUE, as `medcodi generate`",
    )
    parser.add_argument(
        "--outputs", type=names, help="comma-separated names; default: all that are not prompts"
    )
    parser.add_argument("--format", default="png")
    parser.add_argument("--num-samples", type=int, default=1, help="samples for each prompt row")
    parser.add_argument("--num-inference-steps", type=int, default=25)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--solver")
    parser.add_argument("--dtype", help="of the diffusion networks: float32, bfloat16 or float16")
    parser.add_argument(
        "--guidance-interval",
        help="LOW,HIGH: the noise levels that are guided; default: the recipe's",
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile of the denoisers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=32, help="of one process")
    parser.add_argument("--pixel-spacing", type=float)
    parser.add_argument(
        "--num-processes", type=int, help="refuse to run in any other number of processes"
    )
    return parser.parse_args(arguments)


def main() -> None:
    arguments, (index, count, device) = parse(), place()
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s [{index}] %(message)s", datefmt="%H:%M:%S"
    )
    start = time.perf_counter()
    try:
        started_as_asked(count)
        if arguments.num_processes not in (None, count):
            raise ValueError(
                f"expected {arguments.num_processes} processes, {count} run; `accelerate launch "
                "--cpu "
                "--num_processes N` starts one: on a CPU use ACCELERATE_USE_CPU=true torchrun "
                "--nproc_per_node N"
            )
        if arguments.guidance_interval is not None:
            arguments.guidance_interval = parse_interval(arguments.guidance_interval)
        asked = {key: value for key, value in vars(arguments).items() if key != "num_processes"}
        manifest = generate_to_folder(Request(**asked, device=device, shard=(index, count)))
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        logging.error("%s", error)
        sys.exit(1)
    seconds = round(time.perf_counter() - start, 1)
    finished = None if manifest is None else len(manifest["samples"])
    print(
        json.dumps(
            {
                "shard": [index, count],
                "seconds": seconds,
                "finished": finished,
                "output": str(arguments.output),
            }
        )
    )


def place() -> tuple[int, int, str]:
    """This process, the number of processes and the device, as accelerate launch and torchrun tell
    them. The processes exchange nothing, so they need not meet."""
    on_cpu = (
        os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        or not torch.cuda.is_available()
    )
    device = "cpu" if on_cpu else f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")), device


def started_as_asked(count: int) -> None:
    """ValueError when the launcher was asked for more processes than `count`: each would generate
    everything."""
    try:
        check_processes(count, os.environ)
    except TopologyError as error:
        raise ValueError(
            str(error).replace("train/STAGE.py", "scripts/generate_dataset.py")
        ) from error


def names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


if __name__ == "__main__":
    main()
