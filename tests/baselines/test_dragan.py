"""DRAGAN of table rows: the penalty, categories that are ones, seeds, a relation that is learnt."""

import pytest
import torch
from torch import nn

from medcodi.baselines.dragan import DRAGAN, NOISE


def rows(n=400):
    """A number and a category that says its sign."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, generator=generator)
    x = x.sign() + 0.2 * x
    return torch.cat([x, (x > 0).float(), (x <= 0).float()], dim=1)


def fitted(epochs, seed=0):
    torch.manual_seed(0)
    model = DRAGAN(1, [2])
    model.fit(rows(), epochs, seed)
    return model


def test_the_penalty_is_the_distance_of_the_gradient_from_length_1():
    model = DRAGAN(1, [2])
    model.discriminator = nn.Linear(3, 1)
    for length in (1.0, 3.0):
        weight = torch.tensor([[0.6, 0.0, 0.8]]) * length
        model.discriminator.weight.data = weight
        assert model.penalty(rows(8)).item() == pytest.approx((length - 1) ** 2, abs=1e-6)


def test_made_categories_are_ones_that_teach_the_generator():
    model = DRAGAN(1, [2, 3])
    made = model.generate(torch.randn(16, NOISE))
    for part in made.split([1, 2, 3], dim=1)[1:]:
        assert set(part.detach().flatten().tolist()) == {0.0, 1.0}
        assert part.detach().sum(dim=1).eq(1).all()
    made[:, 1].sum().backward()
    assert model.generator[-1].weight.grad[1:3].abs().sum() > 0
    assert model.generator[-1].weight.grad[0].abs().sum() == 0


def test_a_seed_makes_the_training_and_the_rows():
    first, again = fitted(1), fitted(1)
    assert torch.equal(first.sample(20, seed=1), again.sample(20, seed=1))
    assert not torch.equal(first.sample(20, seed=1), first.sample(20, seed=2))
    assert not torch.equal(first.sample(20, seed=1), fitted(1, seed=5).sample(20, seed=1))


def test_it_learns_a_relation():
    made = fitted(40).sample(500, seed=0)
    agrees = (made[:, 0] > 0) == (made[:, 1] > made[:, 2])
    assert agrees.float().mean() > 0.9 and 0.2 < made[:, 1].mean() < 0.8


def test_a_loss_that_is_not_finite_stops():
    model = DRAGAN(1, [2])
    with pytest.raises(ValueError, match="the loss is nan in step 0"):
        model.fit(rows() * float("nan"), 1, 0)
