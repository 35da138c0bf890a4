"""Coupling of jointly generated outputs: it starts at exactly nothing, then every output depends on
every other one."""

import pytest
import torch
from torch import nn

from tests.networks import (
    CONTEXT,
    ENVIRONMENT,
    SHAPES,
    denoiser,
    normal,
    wake,
)

KINDS = sorted(SHAPES)


STEPS = torch.tensor([5.0, 800.0])


CONTEXTS, MASK = normal(2, 5, CONTEXT, seed=3), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])


CODES, CODE_MASK = (
    normal(2, 4, ENVIRONMENT, seed=4),
    torch.tensor([[True, False, True, True], [False] * 4]),
)


def other(kind: str) -> str:
    return next(k for k in KINDS if k != kind)


def coupled(kind: str, opened: bool = False) -> nn.Module:
    net = denoiser(kind)
    net.add_coupling(ENVIRONMENT)
    if opened:
        wake(net, seed=1)
    return net


def run(net: nn.Module, kind: str, *coupling) -> torch.Tensor:
    return net(normal(2, *SHAPES[kind]), STEPS, CONTEXTS, MASK, *coupling)


@pytest.mark.parametrize("kind", KINDS)
def test_new_coupling_equals_independent_generation_exactly(kind):
    net = coupled(kind)
    alone = run(denoiser(kind), kind)
    assert torch.equal(run(net, kind), alone)
    assert torch.equal(run(net, kind, CODES, CODE_MASK), alone)
    assert alone.std() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_coupling_parameters_are_all_that_coupling_adds(kind):
    before, net = dict(denoiser(kind).named_parameters()), coupled(kind)
    added = {n: p for n, p in net.named_parameters() if n not in before}
    assert added and {id(p) for p in added.values()} == {id(p) for p in net.coupling_parameters()}
    assert all(torch.equal(dict(net.named_parameters())[n], p) for n, p in before.items())
    assert all(
        p.any() != n.endswith("to_out.weight") for n, p in added.items()
    )  # only the output projections are zero


@pytest.mark.parametrize("kind", KINDS)
def test_every_attention_level_has_a_branch_that_is_used(kind):
    net = coupled(kind)
    levels = sum(n.endswith(("attn2", "context_attention")) for n, _ in net.named_modules())
    branches = [m for n, m in net.named_modules() if n.endswith("cross_modal")]
    assert len(branches) == levels >= 3 and all(b.sink for b in branches)
    run(net, kind, CODES, CODE_MASK).square().sum().backward()
    assert all(b.to_out.weight.grad.any() for b in branches)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_coupling_adds_exactly_zero(kind):
    net = coupled(kind, opened=True)
    nothing = torch.zeros_like(CODE_MASK)
    assert torch.equal(run(net, kind, CODES, nothing), run(net, kind))
    both = run(net, kind, CODES, CODE_MASK)
    assert not torch.allclose(both[0], run(net, kind)[0], atol=1e-3)  # row 0 sees three codes
    assert torch.allclose(both[1], run(net, kind)[1], atol=1e-6)  # row 1 sees none
    changed = CODES.clone()
    changed[0, 1] += 100.0
    assert torch.allclose(run(net, kind, changed, CODE_MASK), both, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_coupled_forward_changes_nothing_that_it_was_given(kind):
    """Published fault 6: skip connections are read as they were written, inputs stay, and a second
    pass gives the same."""
    net = coupled(kind, opened=True)
    written: list[tuple[torch.Tensor, torch.Tensor]] = []

    def record(_module, _inputs, out):
        for value in out if isinstance(out, tuple) else (out,):
            tensors = value if isinstance(value, tuple) else (value,)
            written.extend((tensor, tensor.clone()) for tensor in tensors)

    hooked = [m for n, m in net.named_modules() if "." in n and n.count(".") < 3]
    handles = [
        m.register_forward_hook(record)
        for m in hooked
        if not isinstance(m, (nn.ModuleList, nn.ModuleDict))
    ]
    inputs = [
        normal(2, *SHAPES[kind]),
        STEPS.clone(),
        CONTEXTS.clone(),
        MASK.clone(),
        CODES.clone(),
        CODE_MASK.clone(),
    ]
    before = [x.clone() for x in inputs]
    with torch.no_grad():
        first = net(*inputs)
        assert len(written) > 10
        assert all(torch.equal(tensor, copy) for tensor, copy in written)
        for handle in handles:
            handle.remove()
        assert torch.equal(net(*inputs), first)
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))
