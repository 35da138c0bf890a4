"""Duplicates are memorised, and what is refused."""

import json

import numpy as np
import pytest

from medcodi.bench.commands.memorisation import main
from medcodi.bench.memorisation import COLUMNS, Plan, _groups, _records, _repeated


def test_planted_phantoms_stand_as_often_as_said():
    plan = Plan(sizes=(80,), copies=(1, 3, 5), size=16)
    groups = _groups(plan, 80)
    assert {copies: len(rows) for copies, rows in groups.items()} == {1: 40, 3: 20, 5: 20}
    records = _records(80, plan, 7)
    repeated = _repeated(records, groups)
    assert len(repeated) == 40 + 3 * 20 + 5 * 20
    counts = np.unique(repeated.images.numpy().reshape(len(repeated), -1), axis=0, return_counts=1)
    assert sorted(set(counts[1])) == [1, 3, 5]


def test_a_row_for_each_size_and_copies(tmp_path, capsys):
    arguments = "--sizes 60 --copies 1,4 --size 16 --steps 3 --autoencoder-steps 2 --num-public 20"
    more = f"--num-samples 20 --num-strangers 50 --output {tmp_path}"
    main([*arguments.split(), *more.split()])
    told = json.loads((tmp_path / "memorisation.json").read_text())
    assert [(row["phantoms"], row["copies"]) for row in told["rows"]] == [(60, 1), (60, 4)]
    assert all(set(row) == set(COLUMNS) for row in told["rows"])
    shares = [row["share of rows"] for row in told["rows"]]
    assert shares == pytest.approx([40 / 120, 80 / 120])
    assert sum(row["nearest record"]["value"] for row in told["rows"]) == pytest.approx(1)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == told


def test_plans_that_measure_nothing():
    with pytest.raises(ValueError, match=r"sets of 80 phantoms or more, got \[50\]"):
        Plan(sizes=(50,))
    with pytest.raises(ValueError, match="copies are 1 or more"):
        Plan(copies=(0, 2))
    with pytest.raises(ValueError, match="planted phantoms and strangers or more, got 5 and 400"):
        Plan(planted=5)
