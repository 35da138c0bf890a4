"""The report VAE and its tokenizer on tiny real components."""

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medcodi.autoencoders.augmentation import mix_sentences
from medcodi.autoencoders.base import cyclical_beta, kl_per_dimension, kl_with_free_bits
from medcodi.autoencoders.optimus import OptimusConfig, OptimusVAE, length_groups
from medcodi.autoencoders.sampling import nucleus_tokens
from medcodi.autoencoders.tokenizer import ReportTokenizer

REPORTS = [
    "The heart is normal in size. The lungs are clear.",
    "There is a small left pleural effusion.",
    "There is a large right pleural effusion. The heart is enlarged.",
    "No pneumothorax.",
    "Right upper lobe consolidation. No pleural effusion or pneumothorax.",
    "Mild pulmonary edema. The heart is mildly enlarged.",
    "A nodule in the left lower lobe. The lungs are otherwise clear.",
    "Left apical pneumothorax. Endotracheal tube is in place. The heart is normal in size.",
]
CONFIG = {
    "num_slots": 4,
    "slot_dim": 8,
    "hidden_dim": 48,
    "num_encoder_layers": 1,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "max_length": 40,
}


@pytest.fixture(scope="module")
def tokenizer():
    return ReportTokenizer.train(REPORTS, vocab_size=340)


def build(tokenizer, **changes):
    torch.manual_seed(0)
    return OptimusVAE(OptimusConfig(**{**CONFIG, **changes}), tokenizer)


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
    """Greedy text with the cache, token for token that of the whole prefix run again at every
    step."""
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


def test_nucleus_sampling_draws_from_the_nucleus():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(4000, 4)
    uniform = (torch.arange(4000) + 0.5) / 4000
    tokens = nucleus_tokens(
        logits, 0.7, uniform
    )  # the nucleus is tokens 0 and 1, in the ratio 5 to 3
    shares = torch.bincount(tokens, minlength=4) / 4000
    assert torch.allclose(shares, torch.tensor([0.625, 0.375, 0.0, 0.0]), atol=1e-3)
    assert (nucleus_tokens(logits, 1e-6, uniform) == 0).all()


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


def test_length_groups_partition_the_rows():
    mask = (
        torch.arange(12)[None]
        < torch.randint(2, 13, (50,), generator=torch.Generator().manual_seed(0))[:, None]
    )
    groups = length_groups(mask, 4)
    assert sorted(torch.cat([rows for rows, _ in groups]).tolist()) == list(range(50))
    assert all(mask[rows].sum(1).max() == width for rows, width in groups)


def test_the_latent_reaches_the_text_by_both_ways(tokenizer):
    """Memory alone and embedding alone each have a gradient."""
    vae = build(tokenizer).train()
    vae.losses(REPORTS, 1.0, torch.Generator().manual_seed(0))["loss"].backward()
    for layer in (vae.to_memory, vae.to_embedding, vae.slot_to_hidden, vae.to_posterior):
        assert layer.weight.grad.abs().sum() > 0
    missing = [name for name, parameter in vae.named_parameters() if parameter.grad is None]
    assert not missing


def test_truncation_is_counted_and_warned_of_once(tokenizer, caplog):
    vae = build(tokenizer, max_length=8)
    with caplog.at_level(logging.WARNING):
        vae.encode([REPORTS[0], "No.", REPORTS[2]])
    assert vae.truncated == 2
    assert sum("max_length" in record.message for record in caplog.records) == 1


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_round_trips(tokenizer, text):
    text = text.encode("utf-8", "ignore").decode()  # lone surrogates are no text
    token_ids, mask = ReportTokenizer(tokenizer.backend, max_length=400)([text, "No pneumothorax."])
    assert tokenizer.decode(token_ids) == [text, "No pneumothorax."]
    assert mask.sum(1)[0] >= 2


def test_special_tokens_written_in_a_text_are_text(tokenizer):
    assert tokenizer.decode(tokenizer(["see [PAD] [EOS] here"])[0]) == ["see [PAD] [EOS] here"]


def test_tokenizer_file_round_trips(tokenizer, tmp_path):
    file = tokenizer.save(tmp_path)
    assert file.name == "tokenizer.json"
    for again in (ReportTokenizer.load(file), ReportTokenizer.load(tmp_path)):
        assert torch.equal(again(REPORTS)[0], tokenizer(REPORTS)[0])
    tokenizer.backend.save_pretrained(tmp_path / "folder")
    assert torch.equal(ReportTokenizer.load(tmp_path / "folder")(REPORTS)[0], tokenizer(REPORTS)[0])
    with pytest.raises(ValueError, match="no tokenizer at"):
        ReportTokenizer.load(tmp_path / "nowhere")


def test_mixing_exchanges_whole_sentences_and_keeps_the_rest():
    known = {part.strip(". ") for report in REPORTS for part in report.split(". ")}
    mixed = mix_sentences(REPORTS, 0.5, torch.Generator().manual_seed(0))
    assert mixed != REPORTS and len(mixed) == 8
    assert all(part.strip(". ") in known for report in mixed for part in report.split(". "))
    assert mix_sentences(REPORTS, 0.0) == REPORTS


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


def test_kl_is_that_of_torch_and_free_bits_are_free():
    mean, logvar = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mean, (0.5 * logvar).exp()), normal(0.0, 1.0)
    )
    assert torch.allclose(kl_per_dimension(mean, logvar), expected, atol=1e-5)
    assert kl_with_free_bits(torch.zeros(5, 3, 2), torch.zeros(5, 3, 2), 0.5) == pytest.approx(3.0)


def test_cyclical_beta():
    """Fu et al. 2019: zero, ramp, plateau, again; the end of training is at the full weight."""
    values = [cyclical_beta(p, 0.2, num_cycles=2) for p in (0.0, 0.2, 0.3125, 0.4, 0.5, 0.9, 1.0)]
    assert values == pytest.approx([0.0, 0.0, 0.1, 0.2, 0.0, 0.2, 0.2])
