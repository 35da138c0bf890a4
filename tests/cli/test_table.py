"""`medcodi table`: fit, sample and impute by files, constraints in YAML."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.sources.reading import read_table

CONFIG = """
constraints: [{less_equal: [in, out]}]
forest: {trees: 1}
"""


def run(*arguments):
    return CliRunner().invoke(app, ["table", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    low = rng.integers(0, 40, 300)
    frame = pd.DataFrame({"sex": rng.choice(["F", "M"], 300), "in": low, "out": low + 3})
    frame.to_csv(folder / "rows.csv", index=False)
    (folder / "config.yaml").write_text(CONFIG)
    result = run(
        *("fit", folder / "rows.csv", "--output", folder / "model"),
        *("--config", folder / "config.yaml"),
    )
    assert result.exit_code == 0 and "sex: categorical: 2 texts" in result.output
    return folder


def test_rows_follow_what_is_given_and_keep_the_constraints(folder):
    result = run("sample", folder / "model", 50, "--output", folder / "a.csv", "--given", "sex=F")
    made = pd.read_csv(folder / "a.csv")
    assert result.exit_code == 0 and set(made["sex"]) == {"F"} and len(made) == 50
    assert (made["in"] <= made["out"]).all()


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".xlsx"])
def test_the_suffix_says_the_format(folder, suffix):
    for name in (f"s{suffix}", "s.csv"):
        assert run("sample", folder / "model", 40, "--output", folder / name).exit_code == 0
    made = [read_table(folder / name) for name in (f"s{suffix}", "s.csv")]
    pd.testing.assert_frame_equal(*made)


def test_gaps_are_filled(folder):
    frame = pd.read_csv(folder / "rows.csv").head(20)
    frame.loc[:9, "sex"] = None
    frame.to_csv(folder / "gaps.csv", index=False)
    result = run("impute", folder / "model", folder / "gaps.csv", "--output", folder / "full.csv")
    full = pd.read_csv(folder / "full.csv")
    assert result.exit_code == 0 and full["sex"].notna().all()
    assert full[["in", "out"]].equals(frame[["in", "out"]])


def test_errors_name_what_is_wrong(folder):
    result = run("sample", folder / "model", 5, "--output", folder / "b.csv", "--given", "sex")
    assert "column=value;column=value" in str(result.exception)
    for words in (["sample", folder / "model", 5], ["impute", folder / "model", folder / "no.csv"]):
        assert "got '.txt'" in str(run(*words, "--output", folder / "b.txt").exception)
    (folder / "wrong.yaml").write_text("constraint: []")
    result = run(
        *("fit", folder / "rows.csv", "--output", folder / "c", "--config", folder / "wrong.yaml")
    )
    assert "did you mean 'constraints'" in str(result.exception)
