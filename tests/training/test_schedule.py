"""The learning rate, as a function of the step."""

import pytest

from medcodi.config import OptimConfig
from medcodi.training.schedule import learning_rate

OPTIM = OptimConfig(lr=2.0, warmup_steps=4, min_lr_ratio=0.1)


def test_linear_warm_up_then_cosine_decay():
    rates = [learning_rate(step, 24, OPTIM) for step in range(25)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0] and rates[4] == 2.0
    assert rates[14] == pytest.approx(2.0 * 0.55)  # halfway
    assert rates[24] == pytest.approx(0.2) and rates[4:] == sorted(rates[4:], reverse=True)


def test_a_stage_that_is_over_keeps_the_least_rate():
    assert learning_rate(100, 24, OPTIM) == pytest.approx(0.2)
    assert learning_rate(0, 0, OptimConfig(lr=1.0, warmup_steps=0)) == 1.0
