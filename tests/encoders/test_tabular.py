"""The table tower: missing cells, invalid tables, gradients."""

import pytest
import torch

from medcodi.data.table import Column, TableSchema
from medcodi.encoders.base import PromptEncoder
from medcodi.encoders.tabular import TabularTower
from medcodi.nn.features import FeatureTokenizer

NAN = float("nan")
SCHEMA = TableSchema(
    [
        Column("age", "continuous", mean=50.0, std=20.0),
        Column("sex", "categorical", ["male", "female"]),
        Column("grade", "ordinal", ["none", "mild", "severe"]),
    ]
)
TABLE = torch.tensor([[0.5, 1.0, 2.0], [NAN, 0.0, NAN], [NAN, NAN, NAN], [-1.0, NAN, 0.0]])


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return TabularTower(SCHEMA, width=32, num_layers=2, num_heads=4)


def test_tokens_of_every_row_are_finite_also_of_an_empty_one(tower):
    tokens, mask = tower(TABLE)
    assert tokens.shape == (4, 4, 32) and mask.shape == (4, 4) and mask.all()
    assert torch.isfinite(tokens).all()
    tokens.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in tower.parameters() if p.grad is not None)


def test_a_missing_cell_changes_its_own_feature_token_only(tower):
    row = TABLE[:1]
    for column in range(3):
        without = row.clone()
        without[0, column] = NAN
        changed = (tower.features(row) != tower.features(without)).any(-1)[0]
        assert changed.tolist() == [i == column for i in range(3)]


def test_what_a_cell_held_does_not_show_once_it_is_missing(tower):
    first, second = TABLE[:1].clone(), TABLE[:1].clone()
    second[0, 0] = -2.0
    assert not torch.equal(tower(first)[0], tower(second)[0])
    first[0, 0] = second[0, 0] = NAN
    assert torch.equal(tower(first)[0], tower(second)[0])


def test_rows_do_not_depend_on_each_other(tower):
    tower.eval()
    alone = torch.cat([tower(TABLE[i : i + 1])[0] for i in range(4)])
    assert torch.allclose(tower(TABLE)[0], alone, atol=1e-5)


def test_missing_is_not_the_mean_nor_the_first_category(tower):
    zeros = torch.zeros(1, 3)
    assert (tower.features(zeros) != tower.features(torch.full((1, 3), NAN))).any(-1).all()


def test_it_is_a_tower_of_a_prompt_encoder(tower):
    encoder = PromptEncoder(tower, width=32, embed_dim=16, num_tokens=4, pooling="attention")
    encoding = encoder(TABLE)
    assert encoding.embeds.shape == (4, 16) and encoding.tokens.shape == (4, 4, 32)
    assert torch.allclose(encoding.embeds.norm(dim=-1), torch.ones(4), atol=1e-5)


def test_one_batch_overfits(tower):
    """Four rows are told apart: each row's embedding predicts its own index."""
    head = torch.nn.Linear(32, 4)
    optimizer = torch.optim.Adam([*tower.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(head(tower(TABLE)[0][:, 0]), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def test_invalid_tables_are_named(tower):
    with pytest.raises(ValueError, match=r"expected a table \(B, 3\)"):
        tower(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="outside its column's range"):
        tower(torch.tensor([[0.0, 2.0, 0.0]]))
    with pytest.raises(ValueError, match="at least one column"):
        FeatureTokenizer([], 8)
