"""Two processes equal one at the same global batch, with gloo on the CPU; the slow tests start them
with `torchrun`, as users do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medcodi.nn.weights import WEIGHTS
from medcodi.training.checkpoint import checkpoints
from medcodi.training.tasks import train_stage
from medcodi.training.tracking import read_metrics
from tests.tiny import copy_run, tiny_recipe, write_recipe
from tests.training.parts import assert_close
from tests.training.processes import in_processes

REPOSITORY = Path(__file__).parents[2]


def start(stage, config):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        str(REPOSITORY / "train" / f"{stage}.py"),
        "--config",
        str(config),
    ]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def torchrun(stage, config):
    """Exit code and stderr."""
    with start(stage, config) as process:
        try:
            said = process.communicate(timeout=240)[1]
            return process.returncode, said
        except BaseException:
            process.terminate()  # it ends its workers, SIGKILL would leave them
            raise


def forked(recipe, stage):
    assert in_processes(2, "ddp", lambda rank: train_stage(recipe, stage)) == [0, 0]


def launched(recipe, stage):
    """As users start them."""
    code, said = torchrun(stage, write_recipe(recipe, recipe.run_dir.parent / "recipe.yaml"))
    assert code == 0, said[-3000:]


def train_in_one_and_in_two(tiny_run, tmp_path, stage, without, label, settings, launch=forked):
    """Exported weights and losses of both runs; `launch` starts the two processes."""
    found = []
    for processes in (1, 2):
        recipe = copy_run(tiny_run, tmp_path / str(processes), without=without, **{stage: settings})
        if processes == 1:
            train_stage(recipe, stage)
        else:
            launch(recipe, stage)
        rows = read_metrics(recipe.run_dir / label / "metrics.jsonl")
        rows = [row for row in rows if "loss" in row]
        found.append(
            (load_file(recipe.run_dir / label / "export" / WEIGHTS), [row["loss"] for row in rows])
        )
    return found


def test_stage2(tiny_run, tmp_path):
    settings = {"modality": "frontal", "num_steps": 4, "ema_decay": 0.9}
    without = (
        "stage2",
        "stage3",
        "pipeline",
        "cache",
    )  # one process fills the cache, the other waits
    runs = train_in_one_and_in_two(
        tiny_run, tmp_path, "stage2", without, "stage2/frontal", settings
    )
    assert_close(*runs, single=1e-4)


def test_stage1_gathers_its_negatives(tiny_run, tmp_path):
    """With two rows a process there are batches in which a modality is absent from one process:
    none may wait."""
    settings = {"num_steps": 24, "batch_size": 4}
    without = ("stage1", "stage2", "stage3", "pipeline", "cache")
    assert_close(
        *train_in_one_and_in_two(tiny_run, tmp_path, "stage1", without, "stage1", settings)
    )


@pytest.mark.slow
def test_stage3(tiny_run, tmp_path):
    assert_close(
        *train_in_one_and_in_two(
            tiny_run, tmp_path, "stage3", ("stage3", "pipeline"), "stage3", {}, launched
        )
    )


@pytest.mark.slow
def test_autoencoder_of_a_fresh_run(tiny_prepared, tmp_path):
    """Both processes fit the assets of a run that does not exist yet."""
    settings = {"data": {"prepared": str(tiny_prepared)}, "autoencoder": {"modality": "tabular"}}
    recipe = tiny_recipe(tmp_path, **settings)
    code, said = torchrun("autoencoder", write_recipe(recipe, tmp_path / "recipe.yaml"))
    assert code == 0, said[-3000:]
    assert sorted(path.name for path in recipe.run_dir.iterdir()) == ["assets.json", "autoencoder"]
    weights = load_file(recipe.run_dir / "autoencoder" / "tabular" / "export" / WEIGHTS)
    assert all(torch.isfinite(x).all() for x in weights.values())


@pytest.mark.slow
def test_both_processes_stop_at_the_same_step(tiny_run, tmp_path):
    """SIGTERM reaches the processes at different moments; they agree on the step, save it and
    leave."""
    settings = {"modality": "report", "num_steps": 3000}
    recipe = copy_run(tiny_run, tmp_path, without=("stage2", "stage3", "pipeline"), stage2=settings)
    folder = recipe.run_dir / "stage2" / "report"
    with start("stage2", write_recipe(recipe, tmp_path / "recipe.yaml")) as process:
        for line in process.stderr:
            if "stage2/report step 3/" in line:
                process.send_signal(signal.SIGTERM)
                break
        said = process.communicate(timeout=240)[1]
    assert process.returncode != 0
    (checkpoint,) = checkpoints(folder / "checkpoints")
    step = int(checkpoint.name.split("_")[1])
    assert said.count(f"stage2/report stopped at step {step}; rerun the same command") == 2
    assert read_metrics(folder / "metrics.jsonl")[-1]["step"] == step
