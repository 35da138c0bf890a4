"""Columns and sentences that `medcodi bench keep` measures."""

import numpy as np

from medcodi.evaluation.keep_parts import regression, target_of, without_effusion
from medcodi.phantom import SCHEMA


def test_sentences_about_effusions_leave_a_gap():
    text = "Heart size is normal. Small left pleural effusion. No pneumothorax."
    assert without_effusion(text) == "Heart size is normal. ... No pneumothorax."
    assert (
        without_effusion("The lungs are clear. No pleural effusion.") == "The lungs are clear. ..."
    )
    assert without_effusion("No pleural effusion.") is None
    assert without_effusion("The lungs are clear.") is None


def test_targets_of_columns_and_their_regression():
    rng = np.random.default_rng(0)
    table = np.full((400, len(SCHEMA.columns)), np.nan)
    names = SCHEMA.names
    a, b, c = (names.index(n) for n in ("is_icu", "was_ventilated", "heart_rate"))
    table[:, a] = rng.random(400) < 0.3
    table[:, b], table[:, c] = table[:, a], table[:, a] + rng.normal(0, 0.1, 400)
    target = target_of(table[:, b], True)
    assert np.array_equal(target(table[:, b]), table[:, b])
    predicted = regression(table, table, b, SCHEMA, target)
    assert predicted[table[:, b] == 1].min() > predicted[table[:, b] == 0].max()
    number = regression(table, table, c, SCHEMA, target_of(table[:, c], False))
    assert np.corrcoef(number, table[:, c])[0, 1] > 0.95
