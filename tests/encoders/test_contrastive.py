"""Contrastive losses: both directions, repeated positives, the sigmoid loss by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from medcodi.encoders.contrastive import infonce, positives, sigmoid_loss
from tests.encoders.parts import own, unit


def cross_entropy(logits: torch.Tensor, targets: list[list[float]]) -> float:
    """Mean over rows of -sum_j t_ij log softmax(logits_i)_j, in plain Python."""
    total = 0.0
    for row, target in zip(logits.tolist(), targets, strict=True):
        normaliser = math.log(sum(math.exp(x) for x in row))
        total -= sum(t * (x - normaliser) for x, t in zip(row, target, strict=True))
    return total / len(targets)


@pytest.mark.parametrize("rows", [2, 5, 16])
def test_constant_embeddings_give_log_b(rows):
    same = F.normalize(torch.ones(rows, 4), dim=-1)
    assert float(infonce(same, same, torch.tensor(14.0), own(rows))) == pytest.approx(
        math.log(rows), rel=1e-6
    )


def test_both_directions_count():
    """Published fault 11: an asymmetric case, so that one direction twice would show."""
    a, b = torch.eye(2)[[0, 1, 1]], torch.eye(2)[[0, 0, 0]]
    logits, identity = 3.0 * a @ b.T, torch.eye(3).tolist()
    forward, backward = cross_entropy(logits, identity), cross_entropy(logits.T, identity)
    assert forward == pytest.approx(math.log(3)) and backward > forward + 0.5
    loss = float(infonce(a, b, torch.tensor(3.0), own(3)))
    assert loss == pytest.approx((forward + backward) / 2, rel=1e-6)
    assert float(infonce(b, a, torch.tensor(3.0), own(3))) == pytest.approx(loss, rel=1e-6)


def test_perfect_alignment_with_a_large_scale_costs_nothing_and_a_wrong_one_much():
    a = torch.eye(4)
    assert float(infonce(a, a, torch.tensor(100.0), own(4))) < 1e-6
    assert float(infonce(a, a.roll(1, 0), torch.tensor(100.0), own(4))) > 50


def test_identical_prompts_are_positives():
    keys_a, keys_b = torch.tensor([1, 2, 1, 4]), torch.tensor([7, 8, 9, 8])
    assert positives(keys_a, keys_b).tolist() == [
        [True, False, True, False],
        [False, True, False, True],
        [True, False, True, False],
        [False, True, False, True],
    ]
    assert torch.equal(positives(torch.arange(3), torch.arange(3)), own(3))
    # rows 0 and 1 say the same in b: pulling them apart is not asked for, and a perfect model pays
    # only log 2
    b = torch.eye(3)[[0, 0, 1]]
    positive = positives(torch.arange(3), torch.tensor([5, 5, 6]))
    loss = float(infonce(b, b, torch.tensor(100.0), positive))
    assert loss == pytest.approx(2 / 3 * math.log(2), abs=1e-5)
    targets = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    a = unit(3, 3, seed=1)
    logits = 5.0 * a @ b.T
    expected = (cross_entropy(logits, targets) + cross_entropy(logits.T, targets)) / 2
    assert float(infonce(a, b, torch.tensor(5.0), positive)) == pytest.approx(expected, rel=1e-5)


def test_sigmoid_loss_by_hand():
    a, b, scale, bias = unit(4, 3, 1), unit(4, 3, 2), 10.0, -2.0
    positive = positives(torch.tensor([1, 2, 1, 4]), torch.arange(4))
    expected = 0.0
    for i in range(4):
        for j in range(4):
            sign = 1 if positive[i, j] else -1
            expected += math.log(1 + math.exp(-sign * (scale * float(a[i] @ b[j]) + bias))) / 4
    loss = sigmoid_loss(a, b, torch.tensor(scale), torch.tensor(bias), positive)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
