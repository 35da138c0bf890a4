"""DDP, ZeRO-2, ZeRO-3 and fully_shard with two CPU processes over gloo: the numbers of one process,
also after a kill -9."""

import os
import random
import signal

import pytest
import torch
from safetensors.torch import load_file

from medcodi.config import StageConfig
from medcodi.nn.weights import WEIGHTS
from medcodi.training.checkpoint import checkpoints
from medcodi.training.ema import EMA
from medcodi.training.loop import TrainingInterrupted
from medcodi.training.parallel.topology import Topology, TopologyError, check_processes, start
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tracking import read_metrics
from tests.tiny import copy_run
from tests.training.processes import TOPOLOGIES, in_processes
from tests.training.test_loop import Hooked, fit_stage2, stage2_recipe
from tests.training.test_two_processes import assert_close

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
    label, settings = STAGES[stage]
    return copy_run(tiny_run, folder, without=(label, "pipeline"), **{stage: settings})


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


def test_losses_are_reduced_at_once_on_the_device():
    class Nccl:
        """What nccl does with a tensor in CPU memory, for a device that needs no GPU."""

        device, num_processes, reduced = torch.device("meta"), 2, []

        def reduce(self, tensor, reduction):
            assert tensor.device == self.device and reduction == "mean", (
                "No backend type associated with device type cpu"
            )
            self.reduced.append(tensor.shape)
            return tensor

    losses = {
        "loss": torch.tensor(1.0),
        "kl": torch.zeros((), device="meta"),
        "beta": torch.tensor(2, dtype=torch.float64),
    }
    means = Topology(Nccl(), StageConfig()).mean(losses)
    assert Nccl.reduced == [(3,)] and list(means) == list(losses)
    assert all(value.shape == () and value.dtype == torch.float32 for value in means.values())


def test_all_stop_after_the_step_in_which_one_is_told_to(tiny_run, tmp_path, monkeypatch):
    """Also between the steps that read the device, as on a GPU."""
    monkeypatch.setattr(
        "medcodi.training.loop._reads_device",
        lambda step, config, topology: step == config.num_steps,
    )
    recipe = stage2_recipe(tiny_run, tmp_path, num_steps=8, log_every=8)

    def work(rank):
        hook = (lambda: os.kill(os.getpid(), signal.SIGTERM)) if rank == 1 else (lambda: None)
        with pytest.raises(TrainingInterrupted, match="stopped at step 3"):
            fit_stage2(recipe, Hooked(Run(recipe), "tabular", 3, hook))

    assert in_processes(2, "ddp", work) == [0, 0]
    assert [p.name for p in checkpoints(recipe.run_dir / "stage2" / "tabular" / "checkpoints")] == [
        "step_3"
    ]


@pytest.mark.parametrize(
    ("environment", "match"),
    [
        (
            {"WORLD_SIZE": "2"},
            r"2 processes were asked for \(WORLD_SIZE=2\), but this training runs with 1",
        ),
        (
            {"SLURM_STEP_NUM_TASKS": "4", "WORLD_SIZE": "1"},
            r"SLURM_STEP_NUM_TASKS=4.*unset SLURM_STEP_NUM_TASKS",
        ),
        (
            {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"},
            r"it started one.*torchrun",
        ),
    ],
)
def test_fewer_processes_than_asked_for_are_refused(environment, match):
    with pytest.raises(TopologyError, match=match):
        check_processes(1, environment)


def test_as_many_processes_as_asked_for():
    check_processes(1, {"ACCELERATE_MIXED_PRECISION": "no"})
    check_processes(
        2, {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2"}
    )
    check_processes(
        16, {"SLURM_STEP_NUM_TASKS": "2", "WORLD_SIZE": "16"}
    )  # srun starts a launcher on each node


def test_what_sharding_cannot_do_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(TopologyError, match="need a launcher"):
        start(StageConfig(), False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(
        TopologyError, match="accelerate leaves DeepSpeed out when ACCELERATE_USE_CPU is set"
    ):
        start(StageConfig(), False)
