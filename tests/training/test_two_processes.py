"""Two processes equal one at the same global batch: `torchrun` with gloo on the CPU, as DEPENDENCIES.md tells."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medcodi.nn.weights import WEIGHTS
from medcodi.training.tasks import train_stage
from medcodi.training.tracking import read_metrics
from tests.tiny import copy_run, write_recipe

REPOSITORY = Path(__file__).parents[2]


def torchrun(stage, config, num_processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(num_processes),
               str(REPOSITORY / "train" / f"{stage}.py"), "--config", str(config)]  # fmt: skip
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.communicate(timeout=240)[1]
            return process.returncode, said
        except BaseException:
            process.terminate()  # it ends its workers, SIGKILL would leave them
            raise


def train_in_one_and_in_two(tiny_run, tmp_path, stage, without, label, settings):
    """Exported weights and losses of both runs."""
    found = []
    for processes in (1, 2):
        recipe = copy_run(tiny_run, tmp_path / str(processes), without=without, **{stage: settings})
        if processes == 1:
            train_stage(recipe, stage)
        else:
            code, said = torchrun(stage, write_recipe(recipe, tmp_path / "recipe.yaml"))
            assert code == 0, said[-3000:]
        rows = read_metrics(recipe.run_dir / label / "metrics.jsonl")
        found.append((load_file(recipe.run_dir / label / "export" / WEIGHTS), [row["loss"] for row in rows]))
    return found


def assert_close(one, two):
    torch.testing.assert_close(torch.tensor(one[1]), torch.tensor(two[1]), rtol=1e-5, atol=1e-5)
    assert one[0].keys() == two[0].keys()
    for key in one[0]:
        torch.testing.assert_close(one[0][key], two[0][key], rtol=1e-5, atol=1e-5, msg=f"{key} differs")


def test_stage2(tiny_run, tmp_path):
    settings = {"modality": "frontal", "num_steps": 4, "ema_decay": 0.9}
    without = ("stage2", "stage3", "pipeline")
    assert_close(*train_in_one_and_in_two(tiny_run, tmp_path, "stage2", without, "stage2/frontal", settings))


@pytest.mark.slow
def test_stage1_gathers_its_negatives(tiny_run, tmp_path):
    """With two rows a process there are batches in which a modality is absent from one process."""
    settings = {"num_steps": 24, "batch_size": 4}
    without = ("stage1", "stage2", "stage3", "pipeline", "cache")
    assert_close(*train_in_one_and_in_two(tiny_run, tmp_path, "stage1", without, "stage1", settings))


@pytest.mark.slow
def test_stage3(tiny_run, tmp_path):
    assert_close(*train_in_one_and_in_two(tiny_run, tmp_path, "stage3", ("stage3", "pipeline"), "stage3", {}))
