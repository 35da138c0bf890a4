"""The common loop: equal seeds, resumption, who is updated, budgets, losses that are not finite."""

import numpy as np
import pytest
import torch

from medcodi.baselines.base import Records
from medcodi.baselines.class_ldm import ClassLDMSettings
from medcodi.baselines.codes import AutoencoderSettings
from medcodi.baselines.loop import drawing, seconds_a_step, train
from medcodi.baselines.pggan import PGGAN, PGGANSettings
from medcodi.baselines.registry import build

SIZE = 16
SMALL = {
    "pggan": PGGANSettings(base=64, most=8, latent_dim=16),
    "class_ldm": ClassLDMSettings(autoencoder_widths=(8, 8), unet_widths=(8, 16), context_dim=8),
}


def records():
    rng = np.random.default_rng(0)
    return Records.of(rng.random((10, SIZE, SIZE)), rng.integers(0, 2, (10, 2)))


def system(name="pggan"):
    with drawing("weights"):
        return build(name, SIZE, 2, SMALL.get(name))


def weights(module):
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


def test_the_same_seed_gives_the_same_weights_and_leaves_the_generator_alone():
    first, second, other = system(), system(), system()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first.fit(records(), 4, batch_size=4)
    assert torch.equal(torch.rand(1), expected)
    second.fit(records(), 4, batch_size=4)
    other.fit(records(), 4, batch_size=4, seed=1)
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


@pytest.mark.parametrize("name", ["pggan", "class_ldm"])
def test_a_training_that_was_cut_off_goes_on(name, tmp_path, monkeypatch):
    whole, cut = system(name), system(name)
    train(whole, records(), 8, 4)
    real, calls = type(cut).loss, []

    def dies(self, player, batch, progress):
        calls.append(player)
        if progress >= 0.75:
            raise KeyboardInterrupt
        return real(self, player, batch, progress)

    monkeypatch.setattr(type(cut), "loss", dies)
    with pytest.raises(KeyboardInterrupt):
        train(cut, records(), 8, 4, folder=tmp_path, checkpoint_every=3)
    monkeypatch.setattr(type(cut), "loss", real)
    again = system(name)
    train(again, records(), 8, 4, folder=tmp_path, checkpoint_every=3)
    assert torch.equal(weights(whole), weights(again))
    with pytest.raises(ValueError, match=r"of a training with .*'seed': 0.*, not .*'seed': 1"):
        train(again, records(), 8, 4, seed=1, folder=tmp_path)


def test_measured_numbers_are_not_averaged():
    averaged, plain = system("class_ldm"), system("class_ldm")
    plain.ema_decay = 0.0
    for one in (averaged, plain):
        one.fit(records(), 6, 4)
    assert torch.equal(averaged.autoencoder.latent_std, plain.autoencoder.latent_std)
    assert not torch.equal(averaged.lookup.weight, plain.lookup.weight)


def test_only_the_player_moves():
    one = system()
    before = {name: p.clone() for name, p in one.named_parameters()}
    one.turns = lambda progress: ["generator"]
    one.ema_decay = 0.0
    train(one, records(), 3, 4)
    moved = {n.split(".")[0] for n, p in one.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"generator"}


def test_an_autoencoder_learns_its_images():
    one = build("autoencoder", SIZE, 2, AutoencoderSettings(width=16))
    flat = np.ones((10, SIZE, SIZE)) * np.linspace(0, 1, 10)[:, None, None]
    given = Records.of(flat, np.zeros((10, 2)))

    @torch.no_grad()
    def error():
        return float((one.decode(one.encode(given.images)) - given.images).square().mean())

    before = error()
    one.fit(given, 30, batch_size=8)
    assert error() < 0.3 * before


def test_levels_grow_to_the_image():
    one = system()
    stages = [one.stage(step / 300) for step in range(300)]
    assert stages[0] == (0, 1.0) and stages[-1] == (2, 1.0)
    assert {level for level, _ in stages} == {0, 1, 2}
    assert min(alpha for level, alpha in stages if level) == 0.0
    latents = torch.randn(2, 16)
    fading = one.generator(latents, 1, 0.0)  # nothing of the new level yet
    coarse = one.generator(latents, 0, 1.0)
    assert torch.allclose(fading, torch.nn.functional.interpolate(coarse, scale_factor=2))


def test_a_step_is_timed_without_training():
    one = system()
    before = weights(one)
    assert seconds_a_step(one, records(), 4, num_probes=2) > 0
    assert torch.equal(weights(one), before)


def test_what_cannot_be_trained_says_so():
    with pytest.raises(ValueError, match="two training records or more, got 1"):
        system().fit(records().take(torch.tensor([0])), 1)
    one = system()
    with torch.no_grad():
        one.generator.first.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="pggan: the loss of its discriminator is nan in step 0"):
        one.fit(records(), 1)
    with pytest.raises(ValueError, match="leaves no noise beside 2 labels"):
        PGGAN(SIZE, 2, PGGANSettings(latent_dim=2))
