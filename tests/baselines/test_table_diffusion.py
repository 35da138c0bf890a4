"""Diffusion on columns: identities of its steps, seeds, a relation that is learnt."""

import pytest
import torch
from torch.nn import functional as F

from medcodi.baselines.table_diffusion import TIMESTEPS, TableDiffusion


def rows(n=400):
    """A number and a category that says its sign."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, 1, generator=generator)
    x = x.sign() + 0.2 * x
    return torch.cat([x, (x > 0).float(), (x <= 0).float()], dim=1)


def fitted(epochs, seed=0):
    torch.manual_seed(0)
    model = TableDiffusion(1, [2])
    model.fit(rows(), epochs, seed)
    return model


@pytest.fixture(scope="module")
def model():
    return TableDiffusion(2, [3])


def test_the_schedule_goes_from_the_data_to_noise(model):
    assert model.kept[0] == 1 and model.kept[-1] < 1e-3
    assert (model.kept.diff() < 0).all() and len(model.kept) == TIMESTEPS + 1


@pytest.mark.parametrize("timestep", [1, 2, 50, TIMESTEPS])
def test_steps_back_undo_a_step(model, timestep):
    """sum over x_t of q(x_t | x_0) q(x_{t-1} | x_t, x_0) is q(x_{t-1} | x_0)."""
    first = F.one_hot(torch.tensor([1, 1, 1]), 3).float()
    t = torch.full((3,), timestep)
    back = model.posterior(torch.eye(3), first, t)  # of each x_t
    forth = model.kept[timestep] * first[0] + (1 - model.kept[timestep]) / 3
    before = model.kept[timestep - 1]
    assert torch.allclose(forth @ back, before * first[0] + (1 - before) / 3, atol=1e-5)


def test_the_first_step_gives_the_data_back(model):
    first = torch.tensor([[0.5, -2.0], [1.5, 3.0]])
    noise, kept = torch.randn(2, 2), model.kept[1]
    noisy = kept.sqrt() * first + (1 - kept).sqrt() * noise
    assert torch.allclose(model._step_back(noisy, noise, 1), first, atol=1e-5)
    known = F.one_hot(torch.tensor([2, 0]), 3).float()
    assert torch.equal(model.posterior(torch.eye(3)[:2], known, torch.ones(2, dtype=int)), known)


def test_a_seed_makes_the_training_and_the_rows():
    first, again = fitted(1), fitted(1)
    assert torch.equal(first.sample(20, seed=1), again.sample(20, seed=1))
    assert not torch.equal(first.sample(20, seed=1), first.sample(20, seed=2))
    assert not torch.equal(first.sample(20, seed=1), fitted(1, seed=5).sample(20, seed=1))


def test_it_learns_a_relation():
    made = fitted(15).sample(500, seed=0)
    agrees = (made[:, 0] > 0) == (made[:, 1] > made[:, 2])
    assert agrees.float().mean() > 0.95 and 0.35 < made[:, 1].mean() < 0.65
    assert abs(made[:, 0].abs().mean() - rows()[:, 0].abs().mean()) < 0.15


@pytest.mark.parametrize(("numbers", "sizes"), [(0, [2, 3]), (3, [])])
def test_columns_of_one_kind_alone(numbers, sizes):
    model = TableDiffusion(numbers, sizes)
    codes = [torch.randn(50, numbers), *(F.one_hot(torch.arange(50) % k, k) for k in sizes)]
    model.fit(torch.cat(codes, dim=1).float(), 1, 0)
    assert model.sample(5, 0).shape == (5, numbers + sum(sizes))


def test_a_loss_that_is_not_finite_stops():
    codes = torch.cat([torch.full((50, 2), torch.nan), torch.eye(3).repeat(17, 1)[:50]], dim=1)
    with pytest.raises(ValueError, match="the loss is nan in step 0"):
        TableDiffusion(2, [3]).fit(codes, 1, 0)
