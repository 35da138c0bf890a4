"""configs/accelerate: accelerate's own loader reads every file; they hold the topology and nothing
that a recipe says."""

import re
import shlex
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

from medcodi.config_io import load_recipe
from medcodi.training.draws import micro_batch_rows

ROOT = Path(__file__).parents[1]
FILES = {path.stem: path for path in sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))}
EXPECTED = {
    "cpu": (DistributedType.NO, 1, 1),
    "single_gpu": (DistributedType.NO, 1, 1),
    "ddp": (DistributedType.MULTI_GPU, 1, 4),
    "zero2": (DistributedType.DEEPSPEED, 1, 4),
    "zero3_offload": (DistributedType.DEEPSPEED, 1, 4),
    "fsdp2": (DistributedType.FSDP, 1, 4),
    "two_nodes": (DistributedType.MULTI_GPU, 2, 16),
}


def test_every_topology_of_the_list_is_there():
    assert set(FILES) == set(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_accelerate_reads_it(name):
    config = load_config_from_file(str(FILES[name]))
    assert (config.distributed_type, config.num_machines, config.num_processes) == EXPECTED[name]
    assert config.use_cpu == (name == "cpu")
    assert config.mixed_precision == "no"  # the recipe's, a stage at a time
    assert config.deepspeed_config.get("gradient_accumulation_steps", 1) == 1  # the recipe's too


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_accelerate_launch_takes_its_arguments_from_it(name):
    """Through the launcher's own parser and checks, to the point where it would start processes."""
    arguments = launch_command_parser().parse_args(
        ["--config_file", str(FILES[name]), "train/stage2.py"]
    )
    arguments, _, _ = _validate_launch_command(arguments)
    assert arguments.num_processes == EXPECTED[name][2]
    assert bool(arguments.use_deepspeed) == name.startswith("zero") and bool(
        arguments.use_fsdp
    ) == (name == "fsdp2")
    if name.startswith("zero"):
        assert int(arguments.zero_stage) == int(name[4])
        assert arguments.offload_optimizer_device == ("cpu" if name == "zero3_offload" else "none")
    if name == "fsdp2":
        assert int(arguments.fsdp_version) == 2


def launch_lines(name: str) -> list[str]:
    return re.findall(r"accelerate launch (--config_file .+)", FILES[name].read_text())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_launch_lines_name_files_that_exist(name):
    """Of the comment: the file itself, the script, the recipe; and the recipe's batches divide by
    the processes."""
    for line in launch_lines(name):
        paths = re.findall(r"(?:configs|train)/[\w/]+\.(?:yaml|py)", line)
        assert len(paths) == 3 and all((ROOT / path).is_file() for path in paths), line
        assert paths[0] == f"configs/accelerate/{name}.yaml"
        processes = int((re.search(r"--num_processes (\d+)", line) or [0, EXPECTED[name][2]])[1])
        stage = load_recipe(ROOT / paths[2]).stage2
        assert micro_batch_rows(stage.batch_size, stage.gradient_accumulation_steps, processes, 0)
    assert launch_lines(name)


@pytest.mark.parametrize("name", ["ddp", "two_nodes", "zero2", "zero3_offload", "fsdp2"])
def test_launch_lines_start_4_8_or_two_times_8_processes(name, monkeypatch):
    """As accelerate's launcher reads them, and hands the nodes to torchrun: no ssh, no hostfile."""
    monkeypatch.chdir(ROOT)
    started = []
    for line in launch_lines(name):
        arguments, _, _ = _validate_launch_command(
            launch_command_parser().parse_args(shlex.split(line))
        )
        if arguments.num_machines > 1:
            arguments.machine_rank = 1  # the first one looks whether its port is free here
        if arguments.use_deepspeed:
            arguments.deepspeed_fields_from_accelerate_config = (
                ""  # for conflicts with a configuration file of DeepSpeed
            )
            command, _ = prepare_deepspeed_cmd_env(arguments)
            assert command is None
        else:
            prepare_multi_gpu_env(arguments)
        if arguments.num_machines > 1:
            assert (arguments.nnodes, arguments.node_rank, arguments.rdzv_endpoint) == (
                "2",
                1,
                "10.0.0.1:29500",
            )
            assert arguments.rdzv_backend == "static"
        started.append((arguments.num_machines, int(arguments.nproc_per_node)))
    one_node = [(1, 4), (1, 8)]
    assert started == {"ddp": one_node, "two_nodes": [(2, 8)] * 2}.get(name, [*one_node, (2, 8)])
