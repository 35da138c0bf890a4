"""Every image system: the interface, seeds, saving, bad input; the sizes of the papers."""

import json

import numpy as np
import pytest
import torch

from medcodi.baselines.base import LABELS, SOURCES, Records
from medcodi.baselines.registry import SYSTEMS, build, build_paper, load

SIZE, COUNT, FINDINGS = 16, 12, 2
TINY = {
    "class_ldm": {
        "autoencoder_widths": (8, 8),
        "unet_widths": (8, 16),
        "context_dim": 8,
        "num_inference_steps": 2,
    },
    "latent_class": {"num_updates": 2},
}


def records(count=COUNT, size=SIZE):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (count, FINDINGS)).astype(np.float32)
    images = rng.random((count, size, size)).astype(np.float32) * 0.3
    images[:, : size // 2] += 0.5 * labels[:, :1, None]
    return Records.of(images, labels, images[:, ::-1].copy())


def made(name, size=SIZE, seed=0):
    system = SYSTEMS[name]
    torch.manual_seed(seed)
    return build(name, size, FINDINGS, system.settings_type(**TINY.get(name, {})))


def sources():
    return (records().sources[:, 0].numpy() + 1) / 2


@pytest.fixture(scope="module")
def trained():
    systems = {}
    for name in SYSTEMS:
        systems[name] = made(name)
        systems[name].fit(records(), num_steps=6, batch_size=4)
    return systems


@pytest.mark.parametrize("name", SYSTEMS)
def test_samples_are_images_whatever_the_batch(name, trained):
    labels = records().labels.numpy()
    whole = trained[name].sample(labels, sources(), seed=3)
    parts = trained[name].sample(labels, sources(), seed=3, batch_size=5)
    assert whole.shape == (COUNT, SIZE, SIZE) and whole.dtype == np.float32
    assert whole.min() >= 0 and whole.max() <= 1 and whole.std() > 0
    assert np.allclose(whole, parts, atol=1e-4)
    assert not np.array_equal(whole, trained[name].sample(labels, sources(), seed=4))


@pytest.mark.parametrize("name", SYSTEMS)
def test_saved_systems_are_the_same(name, trained, tmp_path):
    trained[name].save(tmp_path / name)
    again = load(tmp_path / name)
    labels = records().labels.numpy()
    assert np.array_equal(trained[name].sample(labels, sources()), again.sample(labels, sources()))
    assert sorted(p.name for p in (tmp_path / name).iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_conditions_that_a_system_uses_change_its_samples(name, trained):
    system, labels = trained[name], np.zeros((4, FINDINGS))
    other = np.ones_like(labels)
    # The last layer of a tiny U-Net has hardly moved from zero: it says little, yet not nothing.
    differ = not np.array_equal(
        system.sample(labels, sources()[:4]), system.sample(other, sources()[:4])
    )
    assert differ == (LABELS in system.uses)
    moved = not np.array_equal(
        system.sample(labels, sources()[:4]), system.sample(labels, sources()[4:8])
    )
    assert moved == (SOURCES in system.uses)


def of_images(system, given, images):
    return system.discriminator(images)


# How a discriminator judges (N,) images, and who fools it.
ADVERSARIES = {
    "dcgan": (of_images, "generator"),
    "alpha_gan": (of_images, "coder"),
    "pix2pix": (lambda s, g, x: s.discriminator(torch.cat([g.sources, x], 1)), "generator"),
    "pggan": (lambda s, g, x: s.discriminator(x, g.labels, s.top, 1.0), "generator"),
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_a_discriminator_prefers_real_images_and_its_player_fools_it(name):
    system, given = made(name), records()
    judge, player = ADVERSARIES[name]

    @torch.no_grad()
    def margin():
        noise = torch.randn(COUNT, *system.noise_shape, generator=torch.Generator().manual_seed(1))
        system.train()  # by the statistics of the batch, as in training
        drawn = system.generate(noise, given.labels, given.sources)
        real, fake = (judge(system, given, images).mean() for images in (given.images, drawn))
        return float(real - fake)

    told = [margin()]
    for who in ("discriminator", player):
        system.turns = lambda progress, who=who: [who]
        system.ema_decay = 0.0
        system.fit(given, num_steps=12, batch_size=8)
        told.append(margin())
    untrained, tells, fooled = told
    assert tells > untrained and tells > 0 and fooled < tells


def test_pickled_code_is_in_no_file(trained, tmp_path):
    trained["dcgan"].save(tmp_path / "x")
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    assert config["system"] == "dcgan" and config["size"] == SIZE


# Printed in figures 3, 4 and 5 of the study of synthetic MRI and tables.
PRINTED = {
    ("dcgan", "generator"): 3_576_704,
    ("dcgan", "discriminator"): 2_765_568,
    ("pix2pix", "generator"): 1_318_659,
    ("pix2pix", "discriminator"): 666_817,
    ("beta_vae", ""): 2_957_251,
}


@pytest.mark.parametrize(("name", "part"), PRINTED)
def test_parameters_of_the_papers(name, part):
    with torch.device("meta"):
        system = build_paper(name)
    module = system.get_submodule(part)
    assert sum(p.numel() for p in module.parameters()) == PRINTED[name, part]


# Ours; the generator of latent_class is Karras's, printed as 23.1 million.
PAPER_SIZES = {
    "class_ldm": 17_358_688,
    "pggan": 44_005_384,
    "latent_class": 53_132_056,
    "dcgan": 6_342_272,
    "pix2pix": 1_985_476,
    "beta_vae": 2_957_251,
    "alpha_gan": 38_416_177,
    "autoencoder": 26_562_625,
    "pca": 8_454_144,
}


def test_every_system_has_its_paper_size_on_the_meta_device():
    counts = {}
    for name in SYSTEMS:
        with torch.device("meta"):
            system = build_paper(name)
        counts[name] = system.num_parameters()
    assert counts == PAPER_SIZES


def test_the_paper_latents_are_64_x_64_x_3():
    with torch.device("meta"):
        assert build_paper("class_ldm").noise_shape == (3, 64, 64)


def test_bad_input_is_named(trained, tmp_path):
    with pytest.raises(ValueError, match=r"pgan.*pggan"):
        build("pgan", SIZE, FINDINGS)
    with pytest.raises(ValueError, match="power of two from 8, got 48"):
        build("dcgan", 48, FINDINGS)
    with pytest.raises(ValueError, match=r"16 x 16 pixels, got 32 x 32"):
        trained["dcgan"].fit(records(size=32), 1)
    with pytest.raises(ValueError, match=r"takes labels \(N, 2\), got \(3, 5\)"):
        trained["pggan"].sample(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="unknown ones are not filled in"):
        trained["pggan"].sample(np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="give sources"):
        trained["pix2pix"].sample(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"sources \(3, 16, 16\), one a sample, got \(4, 16, 16\)"):
        trained["pix2pix"].sample(np.zeros((3, 2)), sources()[:4])
    with pytest.raises(ValueError, match="a row of labels a sample, got none"):
        trained["dcgan"].sample(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="as many labels"):
        Records.of(np.zeros((3, 8, 8)), np.zeros((2, 1)))
    trained["dcgan"].save(tmp_path / "one")
    with pytest.raises(ValueError, match="holds the system 'dcgan', not 'pggan'"):
        SYSTEMS["pggan"].load(tmp_path / "one")
