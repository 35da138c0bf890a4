"""Values by study: the csv, the comparison of two folders, subgroups and their gaps."""

import csv
import json

import numpy as np
import pytest

from medcodi.data.column import Column
from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.evaluation.compare import HEAD, cells, compare
from medcodi.evaluation.per_sample import SampleValues, read_samples, write_pairs, write_samples
from medcodi.evaluation.subgroups import chosen_columns, group_of, subgroup_rows


def studies(number, patients_each=1):
    return [
        Study(
            f"s{i}",
            f"p{i // patients_each}",
            {
                "row": {
                    "sex": "FM"[i // patients_each % 2],
                    "age": float(20 + i),
                    "side": "LR"[i % 2],
                }
            },
        )
        for i in range(number)
    ]


def folder_of(path, name, values, of):
    write_samples(path / name / "samples" / "T4.csv", [SampleValues("F>T", "BLEU-1", of, values)])
    return path / name


def test_the_csv_gives_back_what_was_written(tmp_path):
    of, values = studies(3), [0.1, np.nan, 1 / 3]
    write_samples(tmp_path / "x.csv", [SampleValues("F>T", "BLEU-1", of, values)])
    told = read_samples(tmp_path / "x.csv")["F>T", "BLEU-1"]
    assert told.studies == ["s0", "s1", "s2"]
    assert told.patients == ["p0", "p1", "p2"]
    np.testing.assert_array_equal(told.values, values)
    (tmp_path / "y.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="expected the columns system, metric"):
        read_samples(tmp_path / "y.csv")
    with pytest.raises(ValueError, match="a value for each of 3 studies"):
        SampleValues("F>T", "BLEU-1", of, [1.0])


def test_pairs_are_what_report_metrics_take(tmp_path):
    write_pairs(tmp_path / "r.csv", studies(2), ["a, b", "c"], ['"d"', "e\nf"])
    with open(tmp_path / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"study_id": "s0", "reference": "a, b", "hypothesis": '"d"'}
    assert rows[1]["hypothesis"] == "e\nf"


def test_a_better_run_is_told_from_an_equal_one(tmp_path):
    rng, of = np.random.default_rng(0), studies(40)
    base = rng.uniform(size=40)
    a = folder_of(tmp_path, "a", base, of)
    better = folder_of(tmp_path, "b", base + 0.1 + rng.normal(0, 0.05, 40), of)
    (row,) = compare(a, better, num_randomisations=1000, num_resamples=100)
    assert row.p == row.adjusted == pytest.approx(1 / 1001)
    assert row.difference.value == pytest.approx(row.b - row.a)
    assert 0.05 < row.difference.low < row.difference.value < row.difference.high < 0.15
    assert len(cells(row)) == len(HEAD)
    (row,) = compare(a, a)
    assert (row.p, row.difference.value) == (1.0, 0.0)


def test_only_common_studies_count_and_bad_folders_are_named(tmp_path):
    of = studies(6)
    a = folder_of(tmp_path, "a", [1, 1, 1, np.nan], of[:4])
    b = folder_of(tmp_path, "b", [0, 0, 5, 5], of[1:5])
    (row,) = compare(a, b)  # s1 and s2; s3 has no value in A
    assert (row.difference.n, row.a, row.b) == (2, 1.0, 0.0)
    with pytest.raises(FileNotFoundError, match=r"has no samples/\*.csv"):
        compare(a, tmp_path)
    with pytest.raises(ValueError, match="no values of table 'T9': it has T4"):
        compare(a, b, ["T9"])
    c = folder_of(tmp_path, "c", [1.0], [Study("s0", "other", {})])
    with pytest.raises(ValueError, match=r"study s0 is of patient p0 .* and of other"):
        compare(a, c)
    d = folder_of(tmp_path, "d", [1.0], [Study("s9", "p9", {})])
    with pytest.raises(ValueError, match="no metric of the same studies in common"):
        compare(a, d)


def test_values_of_another_model_are_not_compared(tmp_path):
    of = studies(6)
    a, b = (folder_of(tmp_path, name, np.arange(6.0), of) for name in "ab")
    write_samples(b / "samples" / "T5.csv", [SampleValues("F>T", "F1", of, np.ones(6))])
    tables = {"T4": {"status": "done", "stale": False}, "T5": {"status": "done", "stale": True}}
    (b / "report.json").write_text(json.dumps({"tables": tables}))
    with pytest.raises(ValueError, match=r"values of T5 of another model.*has T4, T5"):
        compare(a, b)
    (row,) = compare(a, b, ["T4"])
    assert row.difference.value == 0


def test_groups():
    assert [group_of(x, [40, 65]) for x in (39.9, 40, 64, 65, None)] == [
        "below 40",
        "40 to below 65",
        "40 to below 65",
        "65 and above",
        None,
    ]
    assert group_of("F", []) == "F"
    schema = TableSchema([Column("sex", "categorical", ["F", "M"]), Column("age", "continuous")])
    assert chosen_columns(None, schema) == {"sex": [], "age": [40, 65]}
    assert chosen_columns({"age": [70]}, schema) == {"age": [70.0]}
    assert chosen_columns(None, None) == {}
    bands = TableSchema([Column("age", "ordinal", ["18-59", "60+"])])
    assert chosen_columns(None, bands) == {"age": []}  # a column of bands has its groups already
    with pytest.raises(ValueError, match=r"'age' is ordinal and has groups already.*got \[40\]"):
        chosen_columns({"age": [40]}, bands)
    with pytest.raises(ValueError, match=r"unknown key 'agee' .* did you mean 'age'"):
        chosen_columns({"agee": []}, schema)


def test_a_planted_gap_is_above_its_floor_and_none_is_not():
    of = studies(200, patients_each=2)
    rng = np.random.default_rng(0)
    sexes = np.array([s.values["row"]["sex"] == "F" for s in of])
    noise = rng.normal(0, 0.1, 200)
    samples = [
        SampleValues("F>T", "planted", of, noise + 0.2 * sexes),
        SampleValues("F>T", "none", of, noise),
    ]
    rows = subgroup_rows(samples, "row", {"sex": []}, 200, 0)
    planted, none = rows
    (within,) = subgroup_rows(samples[1:], "row", {"side": []}, 200, 0)  # two sides a patient
    assert within["gap"]["value"] < 3 * within["floor"]
    assert planted["gap"]["value"] == pytest.approx(0.2, abs=0.05)
    assert planted["gap"]["low"] > planted["floor"]
    assert none["gap"]["value"] < 3 * none["floor"]
    means = {g: e["value"] for g, e in planted["groups"].items()}
    assert means["F"] == pytest.approx((noise + 0.2)[sexes].mean())
    assert planted["groups"]["F"]["low"] < means["F"] < planted["groups"]["F"]["high"]


def test_small_groups_have_figures_and_no_part_in_the_gap():
    of = studies(12)
    for i, study in enumerate(of):
        study.values["row"]["sex"] = "X" if i == 0 else "FM"[i % 2]
    (row,) = subgroup_rows([SampleValues("a", "m", of, np.arange(12.0))], "row", {"sex": []}, 50, 0)
    assert set(row["groups"]) == {"F", "M", "X"}
    assert row["gap"]["value"] == pytest.approx(0.0)  # M: 1, 3, .. 11; F: 2, 4, .. 10
