"""Worth of generated pairs for a report generator."""

import numpy as np
import pytest

from medcodi.evaluation.tables.pairs import DIFFERENCE, REAL, P, Pairs
from tests.evaluation.parts import context_of


def test_every_set_is_measured_beside_floors(tiny_run, tmp_path):
    options = {"num_pairs": 16, "num_test": 10, "num_steps": 6}
    result = Pairs().run(context_of(tiny_run, tmp_path, tables={"pairs": options}))
    rows = {row.system: row for row in result.rows}
    kinds = [row.kind for row in result.rows]
    assert {"ours", "real", "baseline", "floor"} == set(kinds) and kinds.count("ours") == 2
    assert rows[REAL].n == 16 and rows["trained on twice as many real pairs"].n == 32
    made = rows["trained on generated pairs"].n
    assert made <= 16 and rows["trained on real and generated pairs"].n == 16 + made
    for name, row in rows.items():
        assert 0 <= row.value("micro") <= 1
        if row.kind != "baseline" and name != REAL:
            difference = row.value("micro") - rows[REAL].value("micro")
            assert row.value(DIFFERENCE) == pytest.approx(difference)
            assert np.isnan(row.value(P)) or 0 < row.value(P) <= 1
    assert result.n == 10 and "one after the other: T, F" in result.notes[0]


def test_too_few_pairs_and_unknown_options_are_named(tiny_run, tmp_path):
    with pytest.raises(ValueError, match=r"expected 16 training studies or more .* got 9"):
        Pairs().run(context_of(tiny_run, tmp_path, num_training_studies=9))
    wrong = context_of(tiny_run, tmp_path, tables={"pairs": {"num_pair": 3}})
    with pytest.raises(ValueError, match=r"did you mean 'num_pairs'"):
        Pairs().run(wrong)
