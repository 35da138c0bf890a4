"""Budgets. Reference values: Gaussian mechanism in closed form, and the accountants beside each
other."""

import math

import pytest
from scipy.stats import norm

from medcodi.config import DPConfig, StageConfig
from medcodi.training.dp.accounting import Budget, spent

pytest.importorskip("opacus")


def budget(units=1000, rows=2000, batch_size=50, num_steps=200, **dp):
    dp = {"delta": 1e-4, **({} if "epsilon" in dp else {"noise_multiplier": 1.5}), **dp}
    config = StageConfig(batch_size=batch_size, num_steps=num_steps, dp=DPConfig(**dp))
    return Budget.of(config, units, rows)


def exact_delta(epsilon, noise):
    """Balle and Wang 2018, theorem 8, sensitivity 1."""
    a, b = 1 / (2 * noise), epsilon * noise
    return norm.cdf(a - b) - math.exp(epsilon) * norm.cdf(-a - b)


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_one_step_with_everybody_is_the_gaussian_mechanism(accountant):
    whole = budget(rows=50, units=50, batch_size=50, accountant=accountant)
    epsilon = whole.epsilon(1)
    assert exact_delta(epsilon, 1.5) <= 1e-4 * 1.05  # never less than what is spent
    if accountant == "prv":
        assert exact_delta(epsilon, 1.5) > 0.7e-4  # and tight


def test_noise_of_an_epsilon_spends_it():
    for epsilon in (1.0, 8.0):
        found = budget(epsilon=epsilon)
        assert 0.97 * epsilon < found.epsilon(200) <= epsilon + 0.01
    assert budget(epsilon=1.0).noise_multiplier > budget(epsilon=8.0).noise_multiplier


def test_steps_add_up_and_none_spend_nothing():
    one = budget()
    assert one.epsilon(0) == 0.0 < one.epsilon(50) < one.epsilon(200)
    together = spent([(one, 100), (one, 100)])
    assert one.epsilon(200) * 0.9 < together < 2 * one.epsilon(100)
    assert budget(accountant="rdp").epsilon(200) >= one.epsilon(200)


def test_a_budget_says_itself():
    assert "epsilon 0" in budget().describe(0) and "1000 patients" in budget().describe(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delta": 2e-3}, "above 1 / 1000, one over the number of units"),
        ({"batch_size": 3000}, "batch_size 3000 is above the number of rows, 2000"),
        ({"delta": 0.0}, "must lie between 0 and 1"),
        ({"epsilon": 1.0, "noise_multiplier": 1.0}, "either epsilon or noise_multiplier"),
        ({"noise_multiplier": None}, "either epsilon or noise_multiplier"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be above 0"),
        ({"unit": "visit"}, "dp.unit must be patient or sample, got 'visit'"),
        ({"accountant": "gdp"}, "dp.accountant must be prv or rdp"),
    ],
)
def test_bad_budgets_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        budget(**change)
