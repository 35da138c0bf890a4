"""DDP, ZeRO-2, ZeRO-3 and fully_shard with two CPU processes over gloo: the numbers of one process,
also after a kill -9."""

import os
import random
import signal

import pytest
import torch
from safetensors.torch import load_file

from medcodi.nn.weights import WEIGHTS
from medcodi.training.checkpoint import checkpoints
from medcodi.training.ema import EMA
from medcodi.training.tasks import train_stage
from medcodi.training.tracking import read_metrics
from tests.tiny import copy_run
from tests.training.parts import assert_close
from tests.training.processes import TOPOLOGIES, in_processes

SETTINGS = {"num_steps": 6, "checkpoint_every": 2, "validate_every": 3}


STAGES = {
    "autoencoder": ("autoencoder/tabular", {**SETTINGS, "modality": "tabular"}),
    "stage1": (
        "stage1",
        {**SETTINGS, "batch_size": 4},
    ),  # some batches lack a modality on one process
    "stage2": (
        "stage2/tabular",
        {**SETTINGS, "modality": "tabular", "ema_decay": 0.9, "gradient_accumulation_steps": 2},
    ),
    "stage3": ("stage3", {**SETTINGS, "ema_decay": 0.9}),
}


def begin(tiny_run, folder, stage):
    """Half of stage 2 trains the mean alone: the denoiser is unused there."""
    label, settings = STAGES[stage]
    changed = {stage: settings, "diffusion": {"prompt_mean_share": 0.5}}
    return copy_run(tiny_run, folder, without=(label, "pipeline"), **changed)


def outcome(recipe, stage):
    """Exported weights, and losses of training and validation."""
    folder = recipe.run_dir / STAGES[stage][0]
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in rows if row["split"] == "train"] == list(range(1, 7))
    return load_file(folder / "export" / WEIGHTS), [row["loss"] for row in rows]


def kill_at(at):
    """kill -9 this process in step `at`."""
    update = EMA.update

    def dying(self, step):
        if step == at:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, step)

    EMA.update = dying


def train(recipe, stage, topology=None, kill=None):
    """Exit codes of one process, or of two in `topology`; `kill` is (rank, step)."""

    def work(rank):
        if kill and kill[0] == rank:
            kill_at(kill[1])
        train_stage(recipe, stage)

    return in_processes(2 if topology else 1, topology or "ddp", work)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_kill_in_one_process(tiny_run, tmp_path, stage):
    """Bit for bit."""
    whole, broken = (
        begin(tiny_run, tmp_path / "whole", stage),
        begin(tiny_run, tmp_path / "broken", stage),
    )
    train_stage(whole, stage)
    step = random.Random(stage).randint(1, 6)
    assert train(broken, stage, kill=(0, step)) == [-signal.SIGKILL]
    assert not (broken.run_dir / STAGES[stage][0] / "export").exists()
    train_stage(broken, stage)
    (weights, losses), (found, found_losses) = outcome(whole, stage), outcome(broken, stage)
    assert losses == found_losses and all(torch.equal(weights[k], found[k]) for k in weights)


FAST = {
    ("zero2", "stage2"),
    ("zero3", "stage1"),
    ("fsdp2", "stage2"),
}  # one of each in the default suite


@pytest.mark.parametrize(
    ("topology", "stage"),
    [
        pytest.param(topology, stage, marks=() if (topology, stage) in FAST else pytest.mark.slow)
        for topology in TOPOLOGIES
        for stage in STAGES
    ],
)
def test_two_processes_equal_one_also_after_a_kill(tiny_run, tmp_path, stage, topology):
    if topology.startswith("zero"):
        pytest.importorskip("deepspeed")
    one, two = begin(tiny_run, tmp_path / "one", stage), begin(tiny_run, tmp_path / "two", stage)
    draw = random.Random(f"{stage} {topology}")
    rank, step = draw.randint(0, 1), draw.randint(3, 6)
    codes = train(two, stage, topology, kill=(rank, step))
    assert codes[rank] == -signal.SIGKILL and codes[1 - rank] != 0
    assert checkpoints(two.run_dir / STAGES[stage][0] / "checkpoints")
    assert train(two, stage, topology) == [0, 0]
    if (
        stage == "autoencoder"
    ):  # its noise depends on the rank: the uninterrupted run of two is the yardstick
        assert train(one, stage, topology) == [0, 0]
    else:
        train_stage(one, stage)
    assert_close(outcome(one, stage), outcome(two, stage))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"), [("ddp", None), ("zero3", None), (None, "zero2"), ("zero2", "fsdp2")]
)
def test_resume_in_another_topology(tiny_run, tmp_path, before, after):
    """A checkpoint holds whole tensors: another number of processes, or another topology, goes on
    from it."""
    one, moved = (
        begin(tiny_run, tmp_path / "one", "stage2"),
        begin(tiny_run, tmp_path / "moved", "stage2"),
    )
    assert 0 not in train(moved, "stage2", before, kill=(0, 5))[:1]
    assert train(moved, "stage2", after)[0] == 0
    train_stage(one, "stage2")
    assert_close(outcome(one, "stage2"), outcome(moved, "stage2"))
