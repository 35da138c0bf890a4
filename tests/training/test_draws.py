"""Random numbers of a step."""

import pytest
import torch

from medcodi.training.draws import Draws


def test_micro_batches_of_a_step_share_its_draws(monkeypatch):
    """The numbers of Draws made anew for every micro-batch, each drawn once."""
    drawn, rand, randn = [], torch.rand, torch.randn
    monkeypatch.setattr(torch, "rand", lambda *a, **k: drawn.append(a) or rand(*a, **k))
    monkeypatch.setattr(torch, "randn", lambda *a, **k: drawn.append(a) or randn(*a, **k))
    micro_batches = [range(2), range(4, 6), range(2, 4)]

    def ask(draws):
        return [
            draws.uniform(),
            draws.normal(3),
            draws.uniform(2),
            torch.randint(9, (4,), generator=draws.local_generator),
        ]

    anew = [ask(Draws(1, "stage2/a", 7, 6, rows)) for rows in micro_batches]
    assert len(drawn) == 9
    drawn.clear()
    step = Draws(1, "stage2/a", 7, 6, micro_batches[0])
    shared = [ask(step.of(rows)) for rows in micro_batches]
    assert len(drawn) == 3
    for before, now in zip(anew, shared, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
    with pytest.raises(AssertionError, match="ask for different numbers"):
        step.of(range(2)).normal(3)
