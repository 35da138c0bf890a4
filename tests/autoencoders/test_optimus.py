"""The report VAE and its tokenizer on tiny real components."""

import pytest
import torch

from medcodi.autoencoders.optimus import OptimusVAE
from tests.autoencoders.parts import REPORTS, build


@pytest.fixture(scope="module")
def trained(tokenizer):
    """One batch of eight reports, overfitted."""
    vae = build(tokenizer, sentence_mixing=0.0).train()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(150):
        losses = vae.losses(REPORTS, step / 150, generator)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    latents = vae.encode(REPORTS)
    vae.set_latent_statistics(latents.mean(0, keepdim=True), latents.std(0, keepdim=True))
    return vae


def test_one_batch_overfits(trained):
    assert trained.decode(trained.encode(REPORTS)) == REPORTS
    figures = trained.reconstruction(REPORTS)
    assert figures == {"exact_match": 1.0, "token_accuracy": 1.0, "free_running_accuracy": 1.0}


def test_latent_statistics_normalise(trained):
    latents = trained.encode(REPORTS)
    assert latents.shape == (8, *trained.latent_shape)
    assert torch.allclose(latents.mean(0), torch.zeros(4, 8), atol=1e-5)
    assert torch.allclose(latents.std(0), torch.ones(4, 8), atol=1e-4)


def test_small_noise_on_the_latents_keeps_the_text(trained):
    latents = trained.encode(REPORTS)
    noise = 0.05 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    assert trained.decode(latents + noise) == REPORTS


def test_dropout_is_off_while_encoding_and_decoding_and_modes_are_restored(tokenizer):
    vae = build(tokenizer, dropout=0.5).train()
    latents = vae.encode(REPORTS)
    assert torch.equal(latents, vae.encode(REPORTS))
    assert vae.decode(latents) == vae.decode(latents)
    assert all(module.training for module in vae.modules())


def test_kv_cache_equals_full_recomputation(trained):
    """Greedy text with the cache: token for token that of the whole prefix, run again."""
    latents = trained.encode(REPORTS) + 0.5 * torch.randn(
        8, 4, 8, generator=torch.Generator().manual_seed(2)
    )
    latents = latents * trained.latent_std + trained.latent_mean
    with torch.no_grad():
        cached = trained.eval().generate(latents)
        tokens = torch.full((8, 1), trained.tokenizer.bos_id)
        for _ in range(cached.shape[1] - 1):
            cache, embedding = trained.memory(latents)
            chosen = trained.logits(tokens, cache, embedding)[:, -1].argmax(-1)
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
    ended = (tokens == trained.tokenizer.eos_id).cumsum(1) > 0
    after_end = torch.cat([torch.zeros(8, 1, dtype=torch.bool), ended[:, :-1]], dim=1)
    assert torch.equal(cached, tokens.masked_fill(after_end, trained.tokenizer.pad_id))


@pytest.mark.parametrize("strategy", ["greedy", "nucleus"])
def test_a_batch_of_eight_equals_one_by_one(trained, strategy):
    latents = trained.encode(REPORTS) + 0.5 * torch.randn(
        8, 4, 8, generator=torch.Generator().manual_seed(3)
    )

    def generators(rows):
        return [torch.Generator().manual_seed(row) for row in rows]

    together = trained.decode(
        latents, strategy=strategy, temperature=2.0, top_p=0.95, generator=generators(range(8))
    )
    alone = [
        trained.decode(
            latents[i : i + 1],
            strategy=strategy,
            temperature=2.0,
            top_p=0.95,
            generator=generators([i]),
        )[0]
        for i in range(8)
    ]
    assert together == alone
    singles = torch.cat([trained.encode([report]) for report in REPORTS])
    assert torch.allclose(trained.encode(REPORTS), singles, atol=1e-4)


def test_losses_are_reproducible_and_do_not_depend_on_length_groups(tokenizer, monkeypatch):
    vae = build(tokenizer, word_dropout=0.3).train()
    reports = REPORTS * 4
    first = vae.losses(reports, 0.9, torch.Generator().manual_seed(5))
    assert torch.equal(
        first["loss"], vae.losses(reports, 0.9, torch.Generator().manual_seed(5))["loss"]
    )
    assert not torch.equal(
        first["loss"], vae.losses(reports, 0.9, torch.Generator().manual_seed(6))["loss"]
    )
    monkeypatch.setattr(OptimusVAE, "num_length_groups", 1)
    ungrouped = vae.losses(reports, 0.9, torch.Generator().manual_seed(5))
    for name, value in first.items():
        assert torch.allclose(value, ungrouped[name], rtol=1e-4), name


def test_the_latent_reaches_the_text_by_both_ways(tokenizer):
    """Memory alone and embedding alone each have a gradient."""
    vae = build(tokenizer).train()
    vae.losses(REPORTS, 1.0, torch.Generator().manual_seed(0))["loss"].backward()
    for layer in (vae.to_memory, vae.to_embedding, vae.slot_to_hidden, vae.to_posterior):
        assert layer.weight.grad.abs().sum() > 0
    missing = [name for name, parameter in vae.named_parameters() if parameter.grad is None]
    assert not missing


def test_wrong_arguments_are_named(trained):
    latents = trained.encode(REPORTS)
    with pytest.raises(ValueError, match=r"expects latents \(B, 4, 8\)"):
        trained.decode(latents[:, :2])
    with pytest.raises(ValueError, match="strategy must be one of"):
        trained.decode(latents, strategy="beam")
    with pytest.raises(ValueError, match="one generator for each of 8 rows"):
        trained.decode(latents, strategy="nucleus", generator=[torch.Generator()])
    with pytest.raises(ValueError, match="got one str"):
        trained.encode("No pneumothorax.")
    with pytest.raises(ValueError, match="must be finite"):
        trained.set_latent_statistics(torch.tensor(0.0), torch.tensor(float("nan")))
