"""torch.compile and gradient checkpointing of the blocks of real denoisers: what they compute
stays, and both really act."""

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from medcodi.nn.blocks import blocks, checkpoint_blocks, compile_blocks
from tests.networks import SHAPES, diffusion, encoding, normal, wake

BATCH = 3


def step(model, name: str, rows: int = BATCH) -> dict[str, torch.Tensor]:
    """Prediction and gradients of one step."""
    model.zero_grad()
    given = {n: encoding(rows, i) for i, n in enumerate("pq")}
    context = model.context(given, torch.ones(rows, 2, dtype=torch.bool))
    out = model(normal(rows, *SHAPES[name]), torch.full((rows,), 600.0), context)
    out.square().mean().backward()
    return {
        "out": out.detach(),
        **{n: p.grad for n, p in model.named_parameters() if p.grad is not None},
    }


def fresh(name: str):
    return wake(diffusion(name, seed=1), seed=1).train()


def test_blocks_are_the_members_of_the_outermost_lists():
    inner = nn.Sequential(nn.ModuleList([nn.Linear(2, 2)]), nn.Linear(2, 2))
    network = nn.Sequential(
        nn.Linear(2, 2), nn.ModuleList([inner, None, nn.ReLU(), nn.Linear(2, 2)])
    )
    assert blocks(network) == [inner, network[1][3]]


@pytest.mark.slow
@pytest.mark.parametrize("recomputed", [False, True])
def test_compiled_blocks_compute_the_same(recomputed):
    """Also with gradient checkpointing, also for another number of rows, and every block is
    compiled, none given up.
    Compiling an image denoiser takes minutes: tests/training/test_speed.py trains one."""
    plain, model = fresh("slots"), fresh("slots")
    if recomputed:
        checkpoint_blocks(model)
    compile_blocks(model)
    torch.compiler.reset()
    counters.clear()
    for rows in (BATCH, 2 * BATCH):
        expected, found = step(plain, "slots", rows), step(model, "slots", rows)
        assert expected.keys() == found.keys()
        assert all(torch.allclose(found[key], expected[key], atol=1e-4) for key in expected)
    assert counters["stats"]["unique_graphs"] >= 2 * len({type(block) for block in blocks(model)})
    assert not counters["graph_break"], dict(counters["graph_break"])
