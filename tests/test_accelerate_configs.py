"""configs/accelerate: accelerate's own loader reads every file; they hold the topology and nothing that a recipe says."""

import re
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType

from medcodi.config import load_recipe
from medcodi.training.draws import micro_batch_rows

ROOT = Path(__file__).parents[1]
FILES = {path.stem: path for path in sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))}
EXPECTED = {
    "cpu": (DistributedType.NO, 1, 1), "single_gpu": (DistributedType.NO, 1, 1), "ddp": (DistributedType.MULTI_GPU, 1, 4),
    "zero2": (DistributedType.DEEPSPEED, 1, 4), "zero3_offload": (DistributedType.DEEPSPEED, 1, 4),
    "fsdp2": (DistributedType.FSDP, 1, 4), "two_nodes": (DistributedType.MULTI_GPU, 2, 16),
}  # fmt: skip


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
    arguments = launch_command_parser().parse_args(["--config_file", str(FILES[name]), "train/stage2.py"])
    arguments, _, _ = _validate_launch_command(arguments)
    assert arguments.num_processes == EXPECTED[name][2]
    assert bool(arguments.use_deepspeed) == name.startswith("zero") and bool(arguments.use_fsdp) == (name == "fsdp2")
    if name.startswith("zero"):
        assert int(arguments.zero_stage) == int(name[4])
        assert arguments.offload_optimizer_device == ("cpu" if name == "zero3_offload" else "none")
    if name == "fsdp2":
        assert int(arguments.fsdp_version) == 2


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_launch_lines_name_files_that_exist(name):
    """Of the comment: the file itself, the script, the recipe; and the recipe's batches divide by the processes."""
    lines = re.findall(r"accelerate launch (--config_file .+)", FILES[name].read_text())
    for line in lines:
        paths = re.findall(r"(?:configs|train)/[\w/]+\.(?:yaml|py)", line)
        assert len(paths) == 3 and all((ROOT / path).is_file() for path in paths), line
        assert paths[0] == f"configs/accelerate/{name}.yaml"
        processes = int((re.search(r"--num_processes (\d+)", line) or [0, EXPECTED[name][2]])[1])
        stage = load_recipe(ROOT / paths[2]).stage2
        assert micro_batch_rows(stage.batch_size, stage.gradient_accumulation_steps, processes, 0)
    assert lines
