"""Approximate randomisation: exact on small samples, by patient, and level under the null."""

import itertools

import numpy as np
import pytest

from medcodi.metrics.paired import approximate_randomisation


def exact(differences):
    """Share of all sign patterns whose mean is at least as far from 0."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return np.mean([total >= observed - 1e-12 for total in sums])


def test_equals_the_exact_test():
    differences = [0.4, 0.1, -0.2, 0.5, 0.3, 0.2, 0.1, -0.1]
    p = approximate_randomisation(np.array(differences), num_randomisations=20_000)
    assert p == pytest.approx(exact(differences), abs=0.01)


def test_patients_are_exchanged_together():
    """Six equal rows of one patient are one observation."""
    differences, patients = np.full(6, 0.3), ["a"] * 6
    assert approximate_randomisation(differences, patients) == 1.0
    assert approximate_randomisation(differences) == pytest.approx(2 / 64, abs=0.01)


def test_is_level_when_nothing_differs():
    rng = np.random.default_rng(0)
    small = [approximate_randomisation(rng.normal(size=20), None, 200, i) for i in range(300)]
    assert np.mean(np.array(small) < 0.05) == pytest.approx(0.05, abs=0.04)
    assert approximate_randomisation(np.zeros(4)) == 1.0


def test_same_seed_same_value():
    differences = np.random.default_rng(1).normal(0.2, 1, 30)
    one, two = (approximate_randomisation(differences, None, 700, 3) for _ in range(2))
    assert one == two
    with pytest.raises(ValueError, match="expected one finite difference or more"):
        approximate_randomisation(np.array([np.nan]))
