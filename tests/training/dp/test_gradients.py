"""The gradient of DP-SGD, on real stages of every kind of modality."""

import dataclasses

import pytest
import torch

from medcodi.config import DPConfig
from medcodi.config_io import for_modality
from medcodi.training.dp.accounting import Budget
from medcodi.training.dp.gradients import PrivateGradients
from medcodi.training.dp.sampling import PoissonSampler
from medcodi.training.dp.secret import Secret
from medcodi.training.draws import Draws
from medcodi.training.parallel.topology import start
from medcodi.training.run import Run
from medcodi.training.tasks.stage2 import Stage2Task
from tests.training.dp.parts import private_run

ROWS = 8


@pytest.fixture(scope="module")
def recipe(tiny_run, tmp_path_factory):
    return private_run(tiny_run, tmp_path_factory.mktemp("dp"))


def rule_of(recipe, name, units, bound=1e9, noise=0.0, micro_size=ROWS):
    """A rule that draws every one of eight rows at each step."""
    task = Stage2Task(Run(recipe), name)
    config = dataclasses.replace(
        for_modality(recipe.stage2, name), batch_size=ROWS, dp=DPConfig(0.01, noise_multiplier=1)
    )
    topology = start(config, False)
    topology.model = task
    budget = Budget(noise, 1.0, bound, 0.01, "patient", max(units) + 1, ROWS, "prv")
    order = PoissonSampler(torch.tensor(units).numpy(), 1.0, "key", micro_size, 0, 5)
    rule = PrivateGradients(task, config, topology, order, Secret("key", budget))
    return rule, task


def step(rule, task):
    """Gradients of step 0, by name."""
    data, rows = task.dataset("train"), rule.order.step_rows(0)[1]
    draws = Draws(0, task.label, 0, ROWS, range(0))
    losses = [
        rule.add(data[indices], draws.of(micro), 0, at)
        for at, (indices, micro) in enumerate(zip(list(rule.order), rows, strict=False))
    ]
    rule.finish(0)
    gradients = {n: p.grad.clone() for n, p in task.named_parameters() if p.requires_grad}
    return gradients, losses


def norm(gradients):
    return torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt()


@pytest.mark.parametrize("name", ["frontal", "report", "tabular"])
def test_without_clipping_and_noise_it_is_the_gradient_of_the_mean(recipe, name):
    rule, task = rule_of(recipe, name, list(range(ROWS)))
    found, losses = step(rule, task)
    task.zero_grad()
    loss = task(
        task.dataset("train")[list(range(ROWS))], Draws(0, task.label, 0, ROWS, range(ROWS)), 0.0
    )
    loss["loss"].backward()
    plain = {n: p.grad for n, p in task.named_parameters() if p.grad is not None}
    torch.testing.assert_close(losses[0]["loss"], loss["loss"].detach())
    for key, gradient in plain.items():
        torch.testing.assert_close(found[key], gradient, atol=2e-6, rtol=1e-4, msg=key)
    assert not any(found[key].abs().max() > 1e-9 for key in found.keys() - plain.keys())


def test_micro_batches_change_nothing(recipe):
    whole, _ = step(*rule_of(recipe, "tabular", list(range(ROWS)), bound=0.1))
    parts, losses = step(*rule_of(recipe, "tabular", list(range(ROWS)), bound=0.1, micro_size=3))
    assert len(losses) == 3
    for key, gradient in whole.items():
        torch.testing.assert_close(parts[key], gradient, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize("units", [[0] * ROWS, [0, 0, 0, 1, 1, 1, 1, 1]])
def test_the_sum_of_a_patient_is_clipped(recipe, units):
    bound = 0.05
    clipped, losses = step(*rule_of(recipe, "tabular", units, bound=bound))
    free, _ = step(*rule_of(recipe, "tabular", units))
    count = max(units) + 1
    assert losses[0]["clipped"] == 1 and norm(free) > bound * count / ROWS
    if count == 1:
        torch.testing.assert_close(norm(clipped), torch.tensor(bound / ROWS), rtol=1e-4, atol=0)
    assert norm(clipped) <= bound * count / ROWS * 1.0001


def test_noise_has_the_size_of_the_budget_and_comes_without_rows_too(recipe):
    rule, task = rule_of(recipe, "tabular", list(range(ROWS)), bound=0.5, noise=2.0)
    rule.finish(3)
    noise = torch.cat([p.grad.flatten() for p in task.parameters() if p.requires_grad])
    assert abs(float(noise.std()) / (2.0 * 0.5 / ROWS) - 1) < 0.02
    again, other = rule_of(recipe, "tabular", list(range(ROWS)), bound=0.5, noise=2.0)
    again.finish(3)
    same = torch.cat([p.grad.flatten() for p in other.parameters() if p.requires_grad])
    assert torch.equal(noise, same)
    again.finish(4)
    assert not torch.equal(
        same, torch.cat([p.grad.flatten() for p in other.parameters() if p.requires_grad])
    )
