"""What partners add to the prompt mean: nothing at first, nothing from who is absent, a side that a
partner's code shows."""

import pytest
import torch

from medcodi.diffusion.partner_mean import PartnerMean
from tests.networks import normal, wake

WIDTH, CODE, TOKENS = 12, 16, 4


def parts(rows=2):
    context, mask = normal(rows, 3, WIDTH), torch.ones(rows, 3, dtype=torch.bool)
    codes = {"a": normal(rows, TOKENS, CODE, seed=1), "b": normal(rows, TOKENS, CODE, seed=2)}
    return context, mask, codes, {n: torch.ones(rows, dtype=torch.bool) for n in codes}


def mean_of(shape=(2, 4, 4)):
    torch.manual_seed(0)
    return PartnerMean(shape, WIDTH, CODE, {"a": TOKENS, "b": TOKENS})


@pytest.mark.parametrize("shape", [(2, 4, 4), (3, 4)])
def test_it_has_the_shape_of_the_latents_and_starts_at_zero(shape):
    out = mean_of(shape)(*parts())
    assert out.shape == (2, *shape) and not out.any()


def test_who_is_absent_says_nothing_and_nobody_adds_nothing():
    mean = wake(mean_of()).eval()
    context, mask, codes, present = parts()
    present["b"] = torch.tensor([True, False])
    present["a"] = torch.tensor([True, False])
    told = mean(context, mask, codes, present)
    changed = mean(context, mask, codes | {"b": codes["b"] + 1}, present)
    assert not torch.equal(told[0], changed[0])
    assert told[0].any() and not told[1].any() and not changed[1].any()
    one = mean(context, mask, {"a": codes["a"]}, {"a": present["a"]})
    without = mean(context, mask, codes, {"a": present["a"], "b": torch.zeros(2).bool()})
    torch.testing.assert_close(one, without)


def test_it_learns_the_side_that_a_partner_shows():
    mean, (context, mask, codes, present) = mean_of((1, 4, 4)), parts(32)
    side = torch.arange(32) % 2
    codes["a"][side == 1, 2] += 1.0
    target = torch.zeros(32, 1, 4, 4)
    target[side == 0, :, :, :2], target[side == 1, :, :, 2:] = 1.0, 1.0
    optimizer = torch.optim.AdamW(mean.parameters(), lr=3e-3)
    for _ in range(80):
        loss = (mean(context, mask, codes, present) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
