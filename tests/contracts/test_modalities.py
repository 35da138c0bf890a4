"""The contract of a modality, over every registered kind."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch

from medcodi.data.collate import collate
from medcodi.diffusion.denoisers.base import Denoiser
from medcodi.encoders.base import MAX_PROMPT_TOKENS
from medcodi.modalities import REGISTRY
from medcodi.training.run import Run

NAMES = {"image": "frontal", "report": "report", "tabular": "tabular", "signal": "ecg"}


@pytest.fixture(scope="module")
def run(five_recipe):
    return Run(five_recipe)


@pytest.fixture(params=sorted(REGISTRY))
def modality(request, run):
    assert request.param in NAMES, (
        f"kind {request.param!r} has no entry in the tiny recipe: add one"
    )
    torch.manual_seed(0)
    return run.family.modality(NAMES[request.param])


@pytest.fixture
def stored(run, modality):
    """Raw values of the first four studies that have the modality."""
    data = run.data("train", [modality.name]).having(modality.name)
    return [study.values[modality.name] for study in data.batch(range(4))]


@pytest.fixture
def values(modality, stored):
    return modality.collate(stored)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a.nan_to_num(-99), b.nan_to_num(-99))
    return a == b


def test_the_prepared_field_is_what_the_modality_says(run, modality):
    (spec,) = run.data("train", [modality.name]).fields
    assert spec == modality.field()


def test_stored_values_are_the_inverse_of_collate(modality, values):
    stored = modality.to_stored(values)
    assert len(stored) == 4
    again = modality.collate(stored)
    if isinstance(values, torch.Tensor):
        torch.testing.assert_close(again, values, rtol=1e-4, atol=1e-4, equal_nan=True)
    else:
        assert again == values


def test_select_and_concat_are_inverse(modality, values):
    assert len(values) == 4
    halves = [modality.select(values, [0, 1]), modality.select(values, [2, 3])]
    assert same(modality.concat(halves), values)
    swapped = modality.select(values, [3, 1])
    assert same(modality.select(swapped, [1]), modality.select(values, [1]))


def test_values_of_absent_rows_are_nowhere(run, modality):
    data = run.data("train", run.family.names)
    studies = data.batch(range(len(data)))
    batch = collate(studies, {name: m.collate for name, m in run.family.modalities.items()})
    has = [modality.name in study.values for study in studies]
    assert batch.rows(modality.name).tolist() == [i for i, there in enumerate(has) if there]
    assert len(batch.values[modality.name]) == sum(has)
    lacking = [study for study in studies if modality.name not in study.values][:3]
    for study in lacking:
        alone = collate([study], {name: m.collate for name, m in run.family.modalities.items()})
        assert modality.name not in alone.values and len(alone.rows(modality.name)) == 0


def test_autoencoder(run, modality, values):
    autoencoder = modality.build_autoencoder()
    assert autoencoder.latent_shape == run.family.latent_shape(modality.group)
    with torch.no_grad():
        mean, logvar = autoencoder.posterior(values)
    assert mean.shape == logvar.shape == (4, *autoencoder.latent_shape)
    losses = autoencoder.losses(values, 0.5, torch.Generator().manual_seed(0))
    assert (
        losses["loss"].ndim == 0 and losses["loss"].requires_grad and torch.isfinite(losses["loss"])
    )
    again = autoencoder.losses(values, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(losses["loss"], again["loss"])
    assert modality.figure in autoencoder.reconstruction(values)
    latents = autoencoder.encode(values)
    assert torch.equal(latents, autoencoder.encode(values)) and not latents.requires_grad
    assert same(autoencoder.decode(latents), autoencoder.decode(latents))
    with pytest.raises(ValueError, match="expects latents"):
        autoencoder.decode(latents[:, :1])


def test_decoding_a_row_does_not_depend_on_the_others(modality, values):
    autoencoder = modality.build_autoencoder().eval()
    latents = torch.randn(4, *autoencoder.latent_shape, generator=torch.Generator().manual_seed(0))

    def decode(rows):
        return modality.decode(
            autoencoder, latents[rows], [torch.Generator().manual_seed(row) for row in rows]
        )

    together, alone = decode([0, 1, 2, 3]), decode([2])
    if isinstance(together, torch.Tensor):
        torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-4, equal_nan=True)
    else:
        assert together[2:3] == alone


def test_what_is_written_can_be_read(modality, values, tmp_path):
    autoencoder = modality.build_autoencoder().eval()
    latents = autoencoder.encode(values)
    decoded = modality.decode(
        autoencoder, latents, [torch.Generator().manual_seed(i) for i in range(4)]
    )
    if isinstance(decoded, list):  # an untrained decoder may say nothing, which is no report
        decoded = [text.strip() or "nothing" for text in decoded]
    shown = modality.to_user(decoded)
    assert len(shown) == 4 and len(modality.to_previewable(decoded)) == 4
    names = modality.write(shown, tmp_path, [f"sample_{i}" for i in range(4)])
    assert len(set(names)) == 4 and all(modality.name in name for name in names)
    read = [modality.read(tmp_path / name) for name in names]
    assert all(len(rows) == 1 for rows in read)
    assert all(len(modality.parse(str(tmp_path / name))) == 1 for name in names)
    given, expected = (modality.from_user(value) for value in ([rows[0] for rows in read], shown))
    assert [value is None for value in given] == [value is None for value in expected]
    given, expected = (
        modality.collate([v for v in values if v is not None]) for values in (given, expected)
    )
    if isinstance(given, torch.Tensor):
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
    else:
        assert given == expected == decoded


def test_user_values_become_prompts(modality, values):
    shown = modality.to_user(values)
    given = modality.from_user(shown)
    assert len(given) == 4 and all(value is not None for value in given)
    again = modality.collate(given)
    if isinstance(values, torch.Tensor):
        torch.testing.assert_close(again, values, rtol=1e-2, atol=1e-2, equal_nan=True)
    else:
        assert again == values
    one = modality.from_user(shown[:1] if isinstance(shown, pd.DataFrame) else shown[0])
    assert len(one) == 1
    listed = [*modality.to_previewable(values)[:1], None]
    assert [value is None for value in modality.from_user(listed)] == [False, True]


def test_previews_are_pictures_or_words(modality, values):
    for value in modality.to_previewable(values):
        shown = modality.preview(value)
        picture = (
            isinstance(shown, np.ndarray)
            and shown.ndim == 2
            and shown.min() >= 0
            and shown.max() <= 1
        )
        assert picture or isinstance(shown, str)


def test_keys_tell_equal_prompts(modality, values):
    keys = modality.keys(values)
    if keys is None:
        return
    assert keys.shape == (4,) and keys.dtype == torch.int64 and (keys.abs() < 2**52).all()
    doubled = modality.keys(modality.concat([values, values]))
    assert torch.equal(doubled[:4], doubled[4:])


def test_prompt_encoder(run, modality, values):
    space = run.recipe.shared_space
    encoder = modality.build_prompt_encoder(space).eval()
    encoding = encoder(values)
    assert encoding.embeds.shape == (4, space.embed_dim)
    torch.testing.assert_close(encoding.embeds.norm(dim=1), torch.ones(4))
    tokens = encoding.tokens.shape[1]
    assert 1 <= tokens <= MAX_PROMPT_TOKENS
    assert encoding.tokens.shape == (4, tokens, run.family.token_dim(modality.name))
    assert (
        encoding.mask.shape == (4, tokens)
        and encoding.mask.dtype == torch.bool
        and encoding.mask.any(dim=1).all()
    )
    alone = encoder(modality.select(values, [2]))
    torch.testing.assert_close(alone.embeds[0], encoding.embeds[2], rtol=1e-4, atol=1e-5)
    assert alone.tokens.shape[1] == tokens  # fixed, so that encodings can be cached


def test_denoiser(run, modality):
    diffusion, shape = run.recipe.diffusion, run.family.latent_shape(modality.group)
    denoiser = modality.build_denoiser(shape, diffusion).eval()
    assert isinstance(denoiser, Denoiser)
    with torch.no_grad():
        for parameter in denoiser.parameters():  # as if trained: some outputs start at zero
            parameter.add_(0.1 * torch.randn_like(parameter))
    call = functools.partial(
        denoiser, estimate=torch.randn(3, *shape) if diffusion.prompt_mean else None
    )
    latents, context = torch.randn(3, *shape), torch.randn(3, 5, diffusion.context_dim)
    mask = torch.tensor(
        [[True] * 5, [True, False, False, False, False], [True, True, False, False, False]]
    )
    timesteps = torch.tensor([10.0, 500.0, 990.0])
    with torch.no_grad():
        before = call(latents, timesteps, context, mask)
        changed = context.clone()
        changed[~mask] = 7.0
        torch.testing.assert_close(
            call(latents, timesteps, changed, mask), before
        )  # masked tokens are not read
        denoiser.add_coupling(diffusion.environment_dim)
        coupling = torch.randn(3, 6, diffusion.environment_dim)
        coupled = call(
            latents, timesteps, context, mask, coupling, torch.ones(3, 6, dtype=torch.bool)
        )
        assert before.shape == latents.shape and torch.equal(
            coupled, before
        )  # the coupling starts at zero, exactly
        for parameter in denoiser.coupling_parameters():
            parameter.normal_()
        assert not torch.equal(
            call(latents, timesteps, context, mask, coupling, torch.ones(3, 6).bool()), before
        )
        hidden = call(latents, timesteps, context, mask, coupling, torch.zeros(3, 6).bool())
        torch.testing.assert_close(hidden, before)  # partners that are not there add nothing
    owned = {id(parameter) for parameter in denoiser.parameters()}
    assert denoiser.coupling_parameters() and all(
        id(p) in owned for p in denoiser.coupling_parameters()
    )


def test_environment_encoder(run, modality):
    diffusion, shape = run.recipe.diffusion, run.family.latent_shape(modality.group)
    environment = modality.build_environment_encoder(shape, diffusion.environment_dim).eval()
    latents = torch.randn(2, *shape)
    with torch.no_grad():
        clean, noisy = (environment(latents, torch.full((2,), level)) for level in (0.0, 1.0))
    assert clean.ndim == 3 and clean.shape[0] == 2 and clean.shape[2] == diffusion.environment_dim
    assert not torch.allclose(clean, noisy)  # it knows the noise level


def test_bad_values_are_named(modality):
    bad = {
        "image": (np.zeros((3, 3), np.float32), "expected an image of 16 x 16"),
        "report": ("  ", "expected a non-empty text"),
        "tabular": ({"heart_rat": 3}, "unknown column 'heart_rat'"),
    }
    if modality.kind in bad:
        value, match = bad[modality.kind]
        with pytest.raises(ValueError, match=match):
            modality.collate([value])


def test_every_network_argument_says_which_network_it_is_for(modality):
    """Arguments named after a part are of that part, so that others need not train again."""
    parts = ("encoder", "autoencoder", "denoiser", "environment")
    for name in vars(modality.args):
        for part in parts:
            assert not name.startswith(part) or modality.args.PARTS.get(name) == part, name
    assert "guidance_scale" not in modality.arguments(*parts)


def test_unknown_argument_is_named(modality):
    with pytest.raises(
        ValueError,
        match=rf"unknown key 'gat' in modalities\.{modality.name}; did you mean 'gate'\?",
    ):
        type(modality)(modality.name, {"kind": modality.kind, "gat": 1})
