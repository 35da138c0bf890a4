"""Source `table`: what columns are, corrections, csv and parquet; OASIS-1 where it is at hand."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources import get_source
from medcodi.sources.inference import infer
from medcodi.sources.mapping import ColumnMapping
from medcodi.sources.reading import read_table

OASIS = Path(__file__).parents[2] / ".." / "shared" / "data" / "oasis" / "oasis_cross-sectional.csv"
CORRECTIONS = Path(__file__).parents[2] / "configs" / "tables" / "oasis.yaml"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([], "empty"),
        (["x"] * 9, "constant"),
        (["1", "1.0", "1.00"], "constant"),
        (["0", "1"] * 20, "categorical"),
        (["0", "0.5", "1", "2"] * 10, "ordinal"),
        ([str(n) for n in range(1, 31)], "identifier"),
        ([str(n) for n in range(0, 90, 3)], "integer"),
        ([str(n / 7) for n in range(30)], "continuous"),
        (["1_000", "2", "3", "4", "5"], "identifier"),  # no number: float would take the underscore
        ([*map(str, range(0, 90, 3)), "unknown"], "integer"),
        (["[18,59]", "(59,74]", "(74,90]"] * 4, "ordinal"),
        (["2020-03-01", "2020-03-05", "2021-01-01"], "datetime"),
        (["03/25/2020", "03/05/2020", "01/01/2021"], "datetime"),
        (["20200301", "20200305", "20210101"], "datetime"),
        (["2020-03-01 10:30", "2020-03-05 11:00", "2021-01-01 00:00"], "datetime"),
        (["a", "b", "b"] * 5, "categorical"),
        ([f"A{n:04d}" for n in range(30)], "identifier"),
        ([f"text {n % 60}" for n in range(90)], "text"),
    ],
)
def test_kinds(values, kind):
    assert infer(values)[0] == kind


def test_orders_and_origins():
    assert infer(["(59,74]", "[18,59]", "(74,90]"] * 2)[2]["categories"] == [
        "[18,59]",
        "(59,74]",
        "(74,90]",
    ]
    assert infer(["18-59", ">90", "60-90", "<18"] * 2)[2]["categories"] == [
        "<18",
        "18-59",
        "60-90",
        ">90",
    ]
    found = infer(["10", "2", "1.0", "1"] * 9)
    assert found[0] == "ordinal" and found[2] == {
        "categories": ["1", "2", "10"],
        "map": {"1.0": "1"},
    }
    assert infer(["03/25/2020", "03/05/2020"])[2] == {
        "origin": "2020-03-05",
        "date_format": "%m/%d/%Y",
    }


def test_dates_become_days():
    column = ColumnMapping("d", "datetime", origin="2020-03-01")
    assert [column.parse(text) for text in ("2020-03-01", "2020-03-02T12:00", "2020-02-29")] == [
        0.0,
        1.5,
        -1.0,
    ]
    assert column.schema_column.unit == "days since 2020-03-01"
    with pytest.raises(ValueError, match="expected a date, got '5'"):
        column.parse("5")


def write(path, **columns):
    frame = pd.DataFrame(columns)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


def columns():
    return {
        "id": [f"S{n:02d}" for n in range(40)],
        "sex": ["F", "M"] * 20,
        "age": [20 + (n * 7) % 60 for n in range(40)],
        "site": ["A"] * 40,
        "grade": [n % 4 for n in range(40)],
        "when": [f"2020-01-{1 + n % 30:02d}" for n in range(40)],
        "weight": [None if n % 10 == 0 else 50 + n / 4 for n in range(40)],
    }


def rows(out):
    return {study.study_id: study for split in SPLITS for study in PreparedDataset.load(out, split)}


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_a_table_is_prepared(tmp_path, name):
    told = []
    path = write(tmp_path / name, **columns())
    counts = get_source("table")(path, {"table": "row"}, tmp_path / "out", tell=told.extend)
    kinds = {decision.column: decision.kind for decision in told}
    assert kinds == {
        "id": "identifier",
        "sex": "categorical",
        "age": "integer",
        "site": "constant",
        "grade": "ordinal",
        "when": "datetime",
        "weight": "continuous",
    }
    assert counts["studies"] == 40 and counts["rejects"] == 0
    found = rows(tmp_path / "out")
    assert found["S01"].values["row"] == {
        "sex": "M",
        "age": 27,
        "grade": "1",
        "when": 1.0,
        "weight": 50.25,
    }
    assert found["S10"].values["row"]["weight"] is None and found["S10"].patient_id == "S10"


def test_corrections(tmp_path):
    path = write(tmp_path / "a.csv", **columns() | {"note": ["x", "?"] * 20})
    options = {
        "table": "row",
        "patient_id": "id",
        "patient_pattern": r"(S\d)\d",
        "missing": ["?"],
        "columns": {
            "grade": {"type": "continuous", "min": 1, "unit": "g"},
            "age": {"type": "drop"},
            "when": {"name": "day"},
        },
    }
    told = []
    counts = get_source("table")(path, options, tmp_path / "out", tell=told.extend)
    assert counts["value_rejects"] == 10  # grades of 0
    grade = next(decision for decision in told if decision.column == "grade")
    assert grade.kind == "continuous" and grade.why.startswith(
        "by correction, inferred was ordinal"
    )
    found = rows(tmp_path / "out")
    assert {study.patient_id for study in found.values()} == {"S0", "S1", "S2", "S3"}
    assert all(
        set(study.values["row"]) == {"sex", "grade", "day", "weight"} for study in found.values()
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"columns": {"agee": {}}}, "'agee' in the columns of .*a.csv; did you mean 'age'"),
        ({"columns": {"age": {"type": "number"}}}, "'number' in columns.age.type"),
        ({"columns": {"sex": {"type": "datetime"}}}, "no known form fits"),
        ({"columns": {"age": {"typ": "integer"}}}, "did you mean 'type'"),
        ({"patient_id": "ident"}, "'ident' in the columns of"),
        ({"patient_id": "id", "patient_pattern": "S"}, "needs one group, the patient; it has 0"),
        (
            {
                "columns": {
                    name: {"type": "drop"} for name in ("sex", "age", "grade", "when", "weight")
                }
            },
            "no column is left",
        ),
    ],
)
def test_wrong_options(tmp_path, options, match):
    path = write(tmp_path / "a.csv", **columns())
    with pytest.raises(ValueError, match=match):
        get_source("table")(path, {"table": "row", **options}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"table .* does not exist"):
        get_source("table")(tmp_path / "a.csv", {"table": "row"}, tmp_path / "out")
    for name, kind in (("a.csv", "UTF-8 csv"), ("a.parquet", "parquet")):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00broken")
        with pytest.raises(ValueError, match=f"cannot be read as {kind}"):
            get_source("table")(tmp_path / name, {"table": "row"}, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.csv", 'n,t\n1,"a;b;c"\n', [["1", "a;b;c"]]),
        ("a.csv", "n;t\n-36,5;x, y\n,5;1,2,3\n", [["-36,5", "x, y"], [",5", "1,2,3"]]),
        ("a.csv", "n\tt\n1,5\t2\n", [["1,5", "2"]]),
        ("a.tsv", "n\tt\n1\t2\n", [["1", "2"]]),
        ("a.csv", "\ufeffn|t\n1|\n", [["1", ""]]),
        ("a.csv", "n\nNA\n", [["NA"]]),
    ],
)
def test_separators(tmp_path, name, text, rows):
    (tmp_path / name).write_text(text, encoding="utf-8")
    frame = read_table(tmp_path / name)
    assert list(frame.columns) == ["n", "t"][: len(rows[0])] and frame.values.tolist() == rows


def test_files_that_have_to_be_told_how_they_are_read(tmp_path):
    (tmp_path / "nul.csv").write_bytes(b"id,x\n1,\x00\n")
    with pytest.raises(ValueError, match="NUL characters"):
        read_table(tmp_path / "nul.csv")
    (tmp_path / "greek.csv").write_bytes("id,x\n1,καρδιά\n".encode("cp1253"))
    with pytest.raises(ValueError, match="nor is it Windows-1252: name its `encoding`"):
        read_table(tmp_path / "greek.csv")
    assert read_table(tmp_path / "greek.csv", encoding="cp1253")["x"].tolist() == ["καρδιά"]
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "two.xlsx") as book:
        for sheet in ("a", "b"):
            pd.DataFrame({"x": [1]}).to_excel(book, sheet_name=sheet, index=False)
    with pytest.raises(ValueError, match=r"the sheets \['a', 'b'\]: name one as `sheet`"):
        read_table(tmp_path / "two.xlsx")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (
            "id,x\n1,2,3\n2,3,4\n",
            "row 1 has 3 cells, expected 2",
        ),  # pandas takes the first column for an index
        ("id,x,y\n1,2,3\n2,3\n", "row 2 has 2 cells, expected 3"),
        ("id,x,x,y,y\n1,2,3,4,5\n", "several columns are named 'x', 'y'"),
        ("", "it is empty"),
    ],
)
def test_tables_whose_cells_would_be_misread(tmp_path, text, match):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_table(tmp_path / "a.csv")


def test_oasis(tmp_path):
    if not OASIS.is_file():
        pytest.skip(f"{OASIS} is not there: the OASIS-1 table")
    call = [
        "prepare",
        "table",
        str(OASIS),
        "--corrections",
        str(CORRECTIONS),
        "--output",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    assert "ordinal" in result.output and "constant" in result.output
    found = rows(tmp_path / "out")
    assert len(found) == 436 and len({study.patient_id for study in found.values()}) == 416
    schema = PreparedDataset.load(tmp_path / "out", "train").schema
    kinds = {column.name: column.type for column in schema.columns}
    assert kinds == {
        "sex": "categorical",
        "Age": "integer",
        "education": "ordinal",
        "SES": "ordinal",
        "MMSE": "integer",
        "CDR": "ordinal",
        "eTIV": "integer",
        "nWBV": "continuous",
        "ASF": "continuous",
        "Delay": "integer",
    }
    cells = [study.values["tabular"] for study in found.values()]
    assert (
        sum(row["CDR"] is None for row in cells) == 201
        and sum(row["sex"] == "F" for row in cells) == 268
    )
    assert sum(row["CDR"] not in (None, "0") for row in cells) == 100
