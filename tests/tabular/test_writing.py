"""Rows to files: each format is read again, block by block as in one block, whole or not at all."""

import sys

import numpy as np
import pandas as pd
import pytest

from medcodi.sources.reading import read_table
from medcodi.tabular import TabularSynthesizer
from medcodi.tabular.writing import check_table, number_columns, write_table

SUFFIXES = (".csv", ".tsv", ".parquet", ".xlsx")


def block(start=0, rows=6):
    at = np.arange(start, start + rows)
    moment = pd.Timestamp("2020-01-01") + pd.to_timedelta(at * 9, "h")
    return pd.DataFrame(
        {
            "text": [None if i < 3 else f"=SUM(A{i})" for i in at],
            "number": at / 7,
            "whole": pd.Series(at).astype("Int64").mask(at == 4),
            "seen": moment.to_series(index=range(rows)).mask(at == 1),
            "zoned": moment.tz_localize("Europe/Berlin"),
            "stay": pd.to_timedelta(at * 24, "h"),
            "flag": pd.Series(at % 2 == 0),
            "grade": pd.Categorical(np.where(at % 3, "high", "low"), ["low", "high"]),
            "level": pd.Categorical(at, np.arange(start, start + rows + start)),
            "none": pd.Series([None] * rows, dtype=object),
        }
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blocks_are_written_as_one_frame_is(suffix, tmp_path):
    whole, parts = tmp_path / f"whole{suffix}", tmp_path / f"parts{suffix}"
    parts_of = [block(0, 3), block(3, 1), block(4, 5)]
    assert write_table(whole, [block(0, 9)]) == write_table(parts, iter(parts_of)) == 9
    tables = [read_table(path) for path in (whole, parts)]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["text"].tolist() == ["", "", "", *(f"=SUM(A{i})" for i in range(3, 9))]
    numbers = tables[0]["number"].astype(float)
    assert np.allclose(numbers, np.arange(9) / 7, rtol=1e-15)  # a sheet has 16 digits
    assert tables[0]["whole"].tolist() == ["0", "1", "2", "3", "", "5", "6", "7", "8"]
    assert tables[0]["seen"].tolist()[:3] == ["2020-01-01", "", "2020-01-01 18:00:00"]
    assert set(tables[0]["none"]) == {""}
    if suffix in (".csv", ".tsv"):
        assert whole.read_bytes() == parts.read_bytes()


def test_parquet_keeps_types(tmp_path):
    write_table(tmp_path / "a.parquet", [block(0, 3), block(3, 6)])
    kinds = pd.read_parquet(tmp_path / "a.parquet").dtypes.astype(str)
    assert kinds[["number", "whole", "flag", "grade"]].tolist() == [
        *("float64", "Int64", "bool", "category")
    ]
    assert kinds["seen"].startswith("datetime64") and kinds["stay"].startswith("timedelta64")


@pytest.mark.parametrize("suffix", [".parquet", ".xlsx"])
def test_texts_of_plain_numbers_are_numbers_where_the_format_has_them(suffix, tmp_path):
    rng = np.random.default_rng(0)
    ages = rng.integers(18, 90, 200)
    frame = pd.DataFrame(
        {"age": ages.astype(str), "bmi": rng.normal(25, 4, 200).round(1).astype(str)}
    ).mask(rng.random((200, 2)) < 0.1)
    frame["dose"] = [f"{n} mg" for n in ages]
    made_of = TabularSynthesizer(forest={"trees": 1}, progress=False).fit(frame)
    numbers = number_columns(made_of.columns)
    assert numbers == {"age": "Int64", "bmi": "float64"}
    path = tmp_path / f"rows{suffix}"
    write_table(path, made_of.sample_batches(90, rows=20), numbers)
    found = pd.read_parquet(path) if suffix == ".parquet" else pd.read_excel(path)
    texts = made_of.sample(90)
    for name in numbers:
        assert np.array_equal(
            *(f[name].astype(float).to_numpy() for f in (found, texts)), equal_nan=True
        )
    assert found["dose"].tolist() == texts["dose"].tolist()


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    def blocks():
        yield block()
        raise ValueError("no more rows")

    path = tmp_path / "rows.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="no more rows"):
        write_table(path, blocks())
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["rows", "rows.txt", "rows.xls"])
def test_other_suffixes_are_refused(name):
    with pytest.raises(ValueError, match=r"one of \.csv, \.tsv, \.parquet, \.xlsx, got '"):
        check_table(name)


def test_what_a_sheet_cannot_hold_is_refused(monkeypatch):
    check_table("rows.xlsx", 1_048_575)
    with pytest.raises(ValueError, match="a sheet holds 1048575 rows"):
        check_table("rows.xlsx", 1_048_576)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ValueError, match=r"medcodi\[xlsx\]"):
        check_table("rows.xlsx")
