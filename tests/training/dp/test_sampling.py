"""Poisson sampling of units."""

import numpy as np

from medcodi.training.dp.sampling import PoissonSampler, unit_numbers

PATIENTS = [f"patient {i // 3}" for i in range(300)]


def sampler(unit="patient", rate=0.2, micro_size=16, first_step=0, num_steps=200, key="k"):
    units = unit_numbers(PATIENTS, unit)
    return PoissonSampler(units, rate, key, micro_size, first_step, num_steps)


def test_each_unit_takes_part_at_the_rate():
    order, counts = sampler("sample"), np.zeros(300)
    for step in order.steps:
        for micro in range(len(order.step_rows(step)[1])):
            counts[np.concatenate(order._plan(step)[micro])] += 1
    assert abs(counts.mean() / 200 - 0.2) < 0.01
    # variances of binomial counts: nobody is drawn in turns
    assert 0.7 < counts.var() / (200 * 0.2 * 0.8) < 1.3


def test_a_patient_is_drawn_as_a_whole_and_stays_in_one_micro_batch():
    order, read = sampler(), iter(sampler())
    for step in range(5):
        total, micro_rows = order.step_rows(step)
        seen = []
        for micro, rows in enumerate(micro_rows):
            indices, units = next(read), order.units(step, micro).tolist()
            assert len(indices) == len(rows) == len(units) <= 16
            owners = [PATIENTS[i] for i in indices]
            assert all(
                (owners[a] == owners[a + 1]) == (units[a] == units[a + 1])
                for a in range(len(owners) - 1)
            )
            seen += owners
        assert len(seen) == total == 3 * order.step_units(step)
        assert all(seen.count(owner) == 3 for owner in set(seen))


def test_a_resumed_run_draws_the_same_and_another_key_does_not():
    whole, later = list(sampler(num_steps=6)), list(sampler(first_step=3, num_steps=6))
    assert whole[-len(later) :] == later and len(later) < len(whole)
    assert list(sampler(num_steps=6, key="other")) != whole


def test_a_step_may_have_no_unit_and_a_patient_more_rows_than_a_micro_batch():
    order = sampler(rate=1e-9)
    assert order.step_rows(0) == (0, []) and list(order) == []
    wide = sampler(rate=1.0, micro_size=2, num_steps=1)
    assert {len(rows) for rows in wide.step_rows(0)[1]} == {3}
