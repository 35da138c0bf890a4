"""Distances between sets of images: agreement with definitions and libraries, and the proof that
each of them can fail."""

import numpy as np
import pytest
import torch
from scipy import linalg, ndimage

from medcodi.metrics.diversity import num_scales, pairwise_ms_ssim
from medcodi.metrics.fidelity import (
    extrapolated_frechet,
    frechet_distance,
    frechet_estimate,
    kernel_distance,
    neighbour_figures,
    small_sample_note,
)
from medcodi.metrics.images import as_float_images, pixel_distance
from medcodi.metrics.networks.classifier import ImageClassifier
from medcodi.metrics.radiomics import NAMES, radiomic_distance, radiomic_features
from medcodi.phantom import make_study

LEVELS = (0.0, 0.05, 0.15, 0.4)
BLURS = (0.0, 0.7, 1.5, 3.0)


def normal(rows, width, seed, shift=0.0):
    return np.random.default_rng(seed).normal(size=(rows, width)) + shift


@pytest.fixture(scope="module")
def phantoms():
    """(80, 32, 32) frontal phantoms and whether each has an effusion."""
    studies = [make_study(7, i, 32) for i in range(90)]
    studies = [study for study in studies if study.values.get("frontal") is not None][:80]
    sick = [[study.truth["effusion_left"] + study.truth["effusion_right"] > 0] for study in studies]
    return np.stack([study.values["frontal"] for study in studies]), np.array(sick, float)


@pytest.fixture(scope="module")
def network(phantoms):
    images, labels = phantoms
    return ImageClassifier(["effusion"]).fit(images, labels, num_steps=12)


def noisy(images, level):
    noise = np.random.default_rng(1).normal(size=images.shape).astype(np.float32)
    return (images + level * noise).clip(0, 1)


def blurred(images, sigma):
    return ndimage.gaussian_filter(images, (0, sigma, sigma))


@pytest.mark.parametrize("rows", [12, 200])
def test_frechet_is_the_definition_with_few_and_many_samples(rows):
    x, y = normal(rows, 24, 0), 1.3 * normal(rows + 5, 24, 1, 0.2)
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(first @ second).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 2) == pytest.approx(4 * 24)


def test_frechet_agrees_with_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    x, y = normal(300, 32, 0), normal(300, 32, 1, 0.1)
    parts = [
        torch.from_numpy(part) for z in (x, y) for part in (z.mean(0), np.cov(z, rowvar=False))
    ]
    assert frechet_distance(x, y) == pytest.approx(float(_compute_fid(*parts)), rel=1e-6)


def test_the_kernel_distance_agrees_with_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    x, y = normal(60, 16, 0), normal(60, 16, 1, 0.2)
    expected = float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))
    estimate = kernel_distance(x, y)
    assert estimate.value == pytest.approx(expected, rel=1e-6)
    assert estimate.low < estimate.value < estimate.high


def test_the_kernel_distance_has_no_bias_and_its_interval_follows_patients():
    same = kernel_distance(normal(80, 8, 0), normal(80, 8, 1))
    assert same.low < 0 < same.high
    patients = np.repeat(np.arange(8), 10)
    values = np.repeat(normal(8, 8, 2), 10, axis=0)  # ten equal rows a patient
    by_row = kernel_distance(values, normal(80, 8, 1))
    by_patient = kernel_distance(values, normal(80, 8, 1), (patients, None))
    assert by_patient.high - by_patient.low > by_row.high - by_row.low


def test_small_sets_are_biased_and_the_extrapolation_takes_it_back():
    small = frechet_distance(normal(64, 32, 0), normal(64, 32, 1))
    large = frechet_distance(normal(1500, 32, 0), normal(1500, 32, 1))
    assert small > 10 * large
    pairs = [(normal(200, 8, 2 * seed), normal(200, 8, 2 * seed + 1)) for seed in range(8)]
    biased = np.mean([frechet_distance(*pair) for pair in pairs])
    taken_back = [extrapolated_frechet(*pair) for pair in pairs]
    assert abs(np.mean([estimate.value for estimate in taken_back])) < 0.4 * biased
    assert all(estimate.low < 0 < estimate.high for estimate in taken_back)  # the truth is 0
    assert "64 samples are not more than its 64 features" in small_sample_note(64, 64, "net")
    assert small_sample_note(65, 64, "net") is None


@pytest.mark.parametrize(
    ("rows", "dim", "shift"), [(150, 6, 0.6), (60, 90, 1.0)], ids=["many", "fewer than features"]
)
def test_the_frechet_interval_has_the_width_of_other_samples(rows, dim, shift):
    """The infinitesimal jackknife's standard deviation against the spread over 40 samples of one
    population."""
    pairs = [
        (normal(rows, dim, 2 * seed, shift), normal(2 * rows, dim, 2 * seed + 1))
        for seed in range(40)
    ]
    estimates = [frechet_estimate(*pair) for pair in pairs]
    values = np.array([estimate.value for estimate in estimates])
    assert values == pytest.approx([frechet_distance(*pair) for pair in pairs])
    stated = np.mean([(estimate.high - estimate.value) / 1.96 for estimate in estimates])
    assert 0.7 < stated / values.std(ddof=1) < 1.4


def test_the_frechet_interval_counts_patients_not_rows():
    x, y = normal(24, 4, 0, 0.3), normal(200, 4, 1)
    tenfold, patients = np.repeat(x, 10, axis=0), np.repeat(np.arange(24), 10)
    once, by_row = frechet_estimate(x, y), frechet_estimate(tenfold, y)
    by_patient = frechet_estimate(tenfold, y, (patients, None))
    width = lambda estimate: estimate.high - estimate.value
    assert width(by_row) < 0.7 * width(by_patient) and width(by_patient) == pytest.approx(
        width(once), rel=0.1
    )
    constant = frechet_estimate(np.zeros((9, 4)), y)
    assert constant.low < constant.value < constant.high
    assert np.isnan(frechet_estimate(x, y, (np.zeros(24), None)).low)  # one patient has no spread


def test_one_mode_loses_recall_and_coverage_and_keeps_precision():
    real = np.concatenate([normal(60, 4, 0), normal(60, 4, 1, 20.0)])
    both = neighbour_figures(np.concatenate([normal(60, 4, 2), normal(60, 4, 3, 20.0)]), real)
    one = neighbour_figures(normal(120, 4, 4), real)
    far = neighbour_figures(normal(120, 4, 5, 100.0), real)
    assert all(both[name].value > 0.7 for name in both)
    assert (
        one["precision"].value > 0.7 and one["recall"].value < 0.55 and one["coverage"].value < 0.55
    )
    assert all(far[name].value == 0 for name in far)
    assert one["precision"].low <= one["precision"].value <= one["precision"].high


@pytest.mark.parametrize(
    ("damage", "amounts"), [(noisy, LEVELS), (blurred, BLURS)], ids=["noise", "blur"]
)
def test_damage_worsens_every_distance_monotonically(damage, amounts, phantoms, network):
    images = phantoms[0]
    real, other = images[:40], images[40:]
    features, radiomic = network.features(real), radiomic_features(real)
    figures = {"frechet": [], "kernel": [], "radiomic": [], "pixels": []}
    for amount in amounts:
        damaged = damage(other, amount)
        seen = network.features(damaged)
        figures["frechet"].append(frechet_distance(seen, features))
        figures["kernel"].append(kernel_distance(seen, features, num_resamples=2).value)
        figures["radiomic"].append(radiomic_distance(radiomic_features(damaged), radiomic).value)
        figures["pixels"].append(float(pixel_distance(damaged, other).mean()))
    for name, values in figures.items():
        assert np.all(np.diff(values) > 0), (name, values)
    if damage is noisy:
        clean, spoilt = (
            neighbour_figures(network.features(x), features, num_resamples=2)
            for x in (other, damaged)
        )
        assert all(spoilt[name].value < clean[name].value for name in clean)


def test_repeated_images_have_no_diversity(phantoms):
    images = phantoms[0][:12]
    varied = pairwise_ms_ssim(images, 40, 20)
    assert varied.low <= varied.value <= varied.high and varied.n == 12
    one_patient = pairwise_ms_ssim(images, 40, 20, groups=[0] * 12)
    assert one_patient.low == one_patient.high == pytest.approx(one_patient.value)
    repeated = pairwise_ms_ssim(np.repeat(images[:1], 12, axis=0), 40, 20)
    assert repeated.value == pytest.approx(1, abs=1e-5) and varied.value < 0.95
    assert [num_scales(size) for size in (8, 16, 64, 256)] == [0, 1, 3, 5]
    with pytest.raises(ValueError, match="two images with sides above 11"):
        pairwise_ms_ssim(np.zeros((4, 8, 8), np.float32))


def test_pixels_are_compared_as_floats():
    """uint8 differences wrap: 10 - 20 = 246."""
    dark, light = np.full((1, 4, 4), 10, np.uint8), np.full((1, 4, 4), 20, np.uint8)
    assert pixel_distance(dark, light)[0] == pytest.approx(10 / 255)
    assert pixel_distance(light, dark)[0] == pytest.approx(10 / 255)


def test_radiomic_features_have_their_names_and_see_texture(phantoms):
    features = radiomic_features(phantoms[0][:3])
    assert features.shape == (3, len(NAMES)) and np.isfinite(features).all()
    assert np.isfinite(radiomic_features(np.zeros((2, 16, 16), np.float32))).all()
    grain = radiomic_features(noisy(phantoms[0][:3], 0.2))
    assert (grain[:, NAMES.index("contrast_1")] > features[:, NAMES.index("contrast_1")]).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "expected at least one image, got none"),
        (
            np.full((2, 4, 4), np.nan, np.float32),
            "2 of 2 images hold NaN or infinite pixels, first image 0",
        ),
        (np.full((2, 4, 4), 3.0), r"pixels must lie in \[0, 1\]; image 0 has \[3, 3\]"),
        (np.zeros((2, 4, 4), np.int64), "expected uint8, uint16 or float pixels, got int64"),
        (np.zeros((2, 4, 4, 3)), r"expected grey images \(N, H, W\)"),
        ([np.zeros((4, 4)), np.zeros((5, 4))], "expected images of one size"),
    ],
)
def test_bad_images_are_named(images, message):
    with pytest.raises(ValueError, match=message):
        as_float_images(images)


def test_bad_features_are_named():
    good = normal(20, 3, 0)
    with pytest.raises(
        ValueError, match="generated: 1 of 20 samples have NaN or infinite features, first sample 4"
    ):
        frechet_distance(np.where(np.arange(20)[:, None] == 4, np.nan, good), good)
    with pytest.raises(ValueError, match="real: expected at least 2 samples, got 1"):
        frechet_distance(good, good[:1])
    with pytest.raises(ValueError, match="one width, got 3 and 2"):
        kernel_distance(good, good[:, :2])
    with pytest.raises(ValueError, match="at least 7 samples, got 5"):
        neighbour_figures(good[:5], good)


def test_a_classifier_needs_both_classes_and_masks_what_is_unknown(phantoms, tmp_path):
    images, labels = phantoms[0][:40], phantoms[1][:40]
    with pytest.raises(ValueError, match="one class only: none of effusion"):
        ImageClassifier(["effusion"]).fit(images, np.ones((40, 1)))
    masked = labels.copy()
    masked[20:] = np.nan
    first = ImageClassifier(["effusion"]).fit(images, masked, num_steps=2)
    first.save(tmp_path / "net")
    second = ImageClassifier.load(tmp_path / "net")
    assert np.array_equal(first.features(images[:4]), second.features(images[:4]))
    assert second.probabilities(images[:4]).shape == (4, 1)
