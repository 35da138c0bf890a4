"""Muon updates matrices by orthogonal steps, AdamW the rest; one state, one learning rate."""

import copy

import pytest
import torch
from torch import nn

from medcodi.config import OptimConfig
from medcodi.training.optimizer import build_optimizer, matrix_parameters, orthogonalized


class Words(nn.Module):
    """A tied output layer, attention, a convolution, a position."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.position = nn.Parameter(torch.randn(4, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.convolution = nn.Conv1d(8, 8, 3, padding=1)
        self.output = nn.Linear(8, 11, bias=False)
        self.output.weight = self.words.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.words(ids) + self.position
        hidden = hidden + self.attention(hidden, hidden, hidden, need_weights=False)[0]
        return self.output(self.convolution(hidden.transpose(1, 2)).transpose(1, 2))


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> float:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(11, (16, 4), generator=generator)
    for _ in range(count):
        loss = nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flip(1).flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())


def _model() -> Words:
    torch.manual_seed(0)
    return Words()


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (7, 7)])
def test_orthogonalized_keeps_directions_and_evens_out_sizes(shape):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalized(matrix))
    assert values.min() > 0.5 and values.max() < 1.4
    assert (orthogonalized(matrix) * matrix).sum() > 0.9 * torch.linalg.svdvals(matrix).sum() * 0.7


def test_embeddings_and_what_is_tied_to_them_are_no_matrices():
    model = _model()
    names = {id(p): n for n, p in model.named_parameters()}
    found = {names[id(p)] for p in matrix_parameters(model)}
    assert found == {
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "convolution.weight",
    }


def test_muon_trains_every_parameter():
    model = _model()
    before = copy.deepcopy(model.state_dict())
    optimizer = build_optimizer(list(model.parameters()), model, OptimConfig(name="muon", lr=0.02))
    assert _steps(model, optimizer, 40) < 0.5 * _steps(_model(), optimizer, 1)
    for key, value in model.state_dict().items():
        assert not torch.equal(value, before[key]), key


def test_a_restored_optimizer_goes_on_to_the_bit():
    optim = OptimConfig(name="muon", lr=5e-3)
    one = _model()
    first = build_optimizer(list(one.parameters()), one, optim)
    _steps(one, first, 3)
    two = copy.deepcopy(one)
    second = build_optimizer(list(two.parameters()), two, optim)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert _steps(one, first, 3) == _steps(two, second, 3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_an_unknown_optimizer_names_those_that_there_are():
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="muon"):
        build_optimizer(list(model.parameters()), model, OptimConfig(name="moun"))
