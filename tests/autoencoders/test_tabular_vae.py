"""The table VAE on a tiny schema: numbers, categories and missing cells."""

import pytest
import torch

from medcodi.autoencoders.augmentation import mix_cells
from medcodi.autoencoders.tabular_vae import TabularVAE, TabularVAEConfig
from medcodi.data.table import Column, TableSchema

NAN = float("nan")
SCHEMA = TableSchema(
    [
        Column("age", "continuous", mean=50.0, std=20.0),
        Column("sex", "categorical", ["male", "female"]),
        Column("stay", "integer", mean=10.0, std=12.0),
        Column("grade", "ordinal", ["none", "mild", "severe"]),
    ]
)


def rows(count=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    table = torch.stack(
        [
            torch.randn(count, generator=generator),
            torch.randint(2, (count,), generator=generator).float(),
            torch.randn(count, generator=generator),
            torch.randint(3, (count,), generator=generator).float(),
        ],
        dim=1,
    )
    return table.masked_fill(torch.rand(table.shape, generator=generator) < 0.2, NAN)


def build(schema=SCHEMA, **changes):
    torch.manual_seed(0)
    return TabularVAE(
        TabularVAEConfig(**{"num_slots": 2, "slot_dim": 8, "hidden_dim": 64, **changes}), schema
    )


@pytest.fixture(scope="module")
def trained():
    vae, table = build(cell_mixing=0.0, cell_dropout=0.0, min_posterior_std=0.1), rows()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(vae.parameters(), lr=5e-3)
    for step in range(500):
        losses = vae.losses(table, step / 500, generator)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    latents = vae.encode(table)
    vae.set_latent_statistics(latents.mean(0, keepdim=True), latents.std(0, keepdim=True))
    return vae.eval()


def test_one_batch_overfits_with_its_missing_cells(trained):
    table = rows()
    decoded = trained.decode(trained.encode(table))
    assert torch.equal(decoded.isnan(), table.isnan())
    assert torch.equal(decoded[:, [1, 3]].nan_to_num(-1), table[:, [1, 3]].nan_to_num(-1))
    assert (decoded - table)[:, [0, 2]].nan_to_num(0).abs().mean() < 0.1
    figures = trained.reconstruction(table)
    assert (
        figures["worst_accuracy"] == 1.0
        and figures["missing_accuracy"] == 1.0
        and figures["worst_r2"] > 0.97
    )


def test_latent_statistics_normalise_and_encode_is_deterministic(trained):
    latents = trained.encode(rows())
    assert latents.shape == (64, 2, 8)
    assert torch.allclose(latents.mean(0), torch.zeros(2, 8), atol=1e-5)
    assert torch.allclose(latents.std(0), torch.ones(2, 8), atol=1e-4)
    assert torch.equal(latents, trained.encode(rows()))
    assert torch.allclose(latents[5:6], trained.encode(rows()[5:6]), atol=1e-5)


def test_sampled_cells_follow_their_likelihood(trained):
    """Many draws from one latent: shares of the categories and moments of the numbers are those of
    the likelihood."""
    latents = 0.7 * torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        cells = trained.likelihoods(latents * trained.latent_std + trained.latent_mean)
    drawn = trained.decode(latents.expand(4000, -1, -1), generator=torch.Generator().manual_seed(5))
    assert torch.allclose(drawn.isnan().float().mean(0), cells.missing.sigmoid()[0], atol=0.03)
    for i, column in enumerate(trained.discrete):
        present = drawn[~drawn[:, column].isnan(), column].long()
        if len(present) > 1000:
            shares = torch.bincount(present, minlength=3) / len(present)
            assert torch.allclose(shares, cells.logits[0, i].softmax(-1), atol=0.04)
    for i, column in enumerate(trained.numeric):
        present = drawn[~drawn[:, column].isnan(), column]
        if len(present) > 1000:
            assert float(present.mean()) == pytest.approx(float(cells.mean[0, i]), abs=0.02)
            assert float(present.std()) == pytest.approx(float(cells.scale[0, i]), rel=0.1)


def test_a_row_is_drawn_from_its_own_generator(trained):
    latents = torch.randn(6, 2, 8, generator=torch.Generator().manual_seed(0))
    together = trained.decode(
        latents, generator=[torch.Generator().manual_seed(i) for i in range(6)]
    )
    alone = torch.cat(
        [
            trained.decode(latents[i : i + 1], generator=[torch.Generator().manual_seed(i)])
            for i in range(6)
        ]
    )
    assert torch.allclose(together, alone, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("values", [torch.full((3, 4), NAN), torch.tensor([[1e6, 1.0, -1e6, 2.0]])])
def test_missing_and_extreme_rows_give_finite_losses_gradients_and_latents(values):
    vae = build().train()
    losses = vae.losses(values, 1.0, torch.Generator().manual_seed(0))
    losses["loss"].backward()
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in vae.parameters())
    assert torch.isfinite(vae.encode(values)).all()


@pytest.mark.parametrize("kept", [[0, 2], [1, 3]])
def test_tables_of_numbers_only_and_of_categories_only(kept):
    vae = build(TableSchema([SCHEMA.columns[i] for i in kept])).train()
    table = rows(8)[:, kept]
    vae.losses(table, 0.5, torch.Generator().manual_seed(0))["loss"].backward()
    latents = vae.encode(table)
    for generator in (None, torch.Generator().manual_seed(0)):
        assert vae.decode(latents, generator=generator).shape == (8, 2)
    assert "missing_accuracy" in vae.reconstruction(table)


def test_losses_are_reproducible():
    vae, table = build().train(), rows()
    loss = [
        float(vae.losses(table, 0.5, torch.Generator().manual_seed(seed))["loss"].detach())
        for seed in (1, 1, 2)
    ]
    assert loss[0] == loss[1] != loss[2]


def test_mixed_cells_come_from_their_column():
    table = torch.arange(40.0).view(10, 4)
    mixed = mix_cells(table, 0.5, 0.0, torch.Generator().manual_seed(0))
    assert not torch.equal(mixed, table)
    assert torch.equal(mixed % 4, table % 4)
    assert torch.equal(mix_cells(table, 0.0, 0.0), table)
    assert mix_cells(table, 0.0, 1.0).isnan().all()
