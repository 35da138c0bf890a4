"""Steps of training in which the host does not wait for a GPU: it reads no value of the device, nor
how many rows it has."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from medcodi.diffusion.joint import JointState
from medcodi.encoders.contrastive import infonce
from medcodi.training.draws import Draws
from medcodi.training.run import Run
from medcodi.training.task import map_tensors, to_device
from medcodi.training.tasks.stage1 import Stage1Task
from medcodi.training.tasks.stage2 import Stage2Task
from medcodi.training.tasks.stage3 import Stage3Task
from tests.tiny import BATCH

READS = (
    "_local_scalar_dense",
    "nonzero",
    "is_nonzero",
    "_unique2",
    "unique_dim",
    "masked_select",
    "_linalg_check_errors",
    "one_hot",
    "equal",
    "repeat_interleave",
)


class Reads(TorchDispatchMode):
    """Names of the operations that wait on a GPU, in `found`: those that return values or as many
    rows as values say."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in READS or (
            name in ("index", "index_put", "index_put_") and self._by_mask(args[1])
        ):
            self.found.append(name)
        return function(*args, **(kwargs or {}))

    @staticmethod
    def _by_mask(indices):
        return any(index is not None and index.dtype == torch.bool for index in indices)


def test_the_tracer_sees_what_waits():
    x = torch.arange(4.0)
    with Reads() as reads:
        x[torch.tensor([0, 2])] = 1.0
        torch.where(x > 1, x, 0.0).sum()
        assert reads.found == []
        (
            int(x.sum()),
            x[x > 1],
            (x > 1).nonzero(),
            x.unique(),
            torch.linalg.solve(torch.eye(2), torch.eye(2)),
        )
    assert {"_local_scalar_dense", "index", "nonzero", "_unique2", "_linalg_check_errors"} <= set(
        reads.found
    )


def reads_of_a_step(task):
    """Forward and backward of a batch that is on the device already."""
    task.train()
    batch = task.dataset("train")[list(range(BATCH))]
    with Reads() as reads:
        task(batch, Draws(0, task.label, 0, BATCH, range(BATCH)), 0.0)["loss"].backward()
    assert any(parameter.grad is not None for parameter in task.parameters())
    return reads.found


def test_stage1_reads_nothing(tiny_run):
    assert reads_of_a_step(Stage1Task(Run(tiny_run))) == []


@pytest.mark.parametrize("name", ["frontal", "report"])
def test_stage2_reads_nothing(tiny_run, name):
    assert reads_of_a_step(Stage2Task(Run(tiny_run), name)) == []


def test_stage3_reads_which_rows_an_output_is_generated_in_and_nothing_else(tiny_run):
    """Once an output: computing the others, too, would take longer than to wait."""
    reads = reads_of_a_step(Stage3Task(Run(tiny_run)))
    assert set(reads) == {"nonzero"} and len(reads) <= len(tiny_run.modalities)


def test_the_environment_contrast_is_of_the_rows_that_have_both_sides(tiny_run):
    """As selecting them says; a pair that fewer than two rows have counts for nothing."""
    task, (a, b, c) = Stage3Task(Run(tiny_run)), list(tiny_run.modalities)[:3]
    source = torch.Generator().manual_seed(0)
    codes = {name: torch.randn(6, 3, 8, generator=source) for name in (a, b, c)}
    there = {
        a: [1, 1, 0, 1, 1, 1],
        b: [1, 1, 1, 1, 0, 1],
        c: [0, 0, 1, 0, 1, 0],
    }  # a and b: four rows, c: one with each
    states = {
        n: JointState(
            codes[n],
            torch.zeros(6),
            torch.zeros(6),
            torch.tensor(rows, dtype=torch.bool),
            torch.zeros(6, dtype=torch.bool),
        )
        for n, rows in there.items()
    }
    with Reads() as reads:
        found = task._environment_contrast(codes, states)
    both = states[a].present & states[b].present
    pooled = [F.normalize(codes[n].mean(dim=1), dim=-1)[both] for n in (a, b)]
    expected = infonce(
        *pooled,
        1 / tiny_run.diffusion.environment_contrast_temperature,
        torch.eye(4, dtype=torch.bool),
    )
    torch.testing.assert_close(found, expected)
    assert reads.found == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_stage2_on_a_gpu_never_waits(tiny_run):
    device = torch.device("cuda")
    task = Stage2Task(Run(tiny_run), "frontal").to(device).train()
    parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, fused=True)
    batch = map_tensors(task.dataset("train")[list(range(BATCH))], torch.Tensor.pin_memory)

    def step(number):
        draws = Draws(0, task.label, number, BATCH, range(BATCH), device)
        task(to_device(batch, device), draws, 0.0)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step(0)  # allocates, and fills what is kept on the device
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
