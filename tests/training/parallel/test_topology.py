"""Which processes run, and what they tell each other."""

import os
import signal

import pytest
import torch

from medcodi.config import StageConfig
from medcodi.training.checkpoint import checkpoints
from medcodi.training.interrupt import TrainingInterrupted
from medcodi.training.parallel.topology import Topology, TopologyError, check_processes, start
from medcodi.training.run import Run
from tests.training.parts import Hooked, fit_stage2, stage2_recipe
from tests.training.processes import in_processes


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
