"""Where in a file the table is, and rows that are no data: right, told and counted."""

import pytest

from medcodi.sources.reading import read_table
from medcodi.sources.tables import prepare_table

ROWS = [f"p{n},{20 + n % 40},{'MF'[n % 2]}" for n in range(40)]
HEAD = "patient,age,sex"


def read(tmp_path, *lines, encoding="utf-8"):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines), encoding=encoding)
    return read_table(path)


@pytest.mark.parametrize(
    "above",
    [
        ["# ward 7"],
        ["# ward 7", "# 2021, draft, v2", ""],
        ["Report of ward 7", ""],
        ["Report of ward 7,,"],
        [",,"],
    ],
)
def test_lines_above_the_header_are_left_out_and_told(tmp_path, above):
    frame = read(tmp_path, *above, HEAD, *ROWS)
    assert list(frame.columns) == HEAD.split(",") and len(frame) == 40
    assert any("above the table were left out" in note for note in frame.attrs["notes"])


def test_a_header_may_begin_with_a_hash(tmp_path):
    assert list(read(tmp_path, "#" + HEAD, *ROWS).columns) == ["#patient", "age", "sex"]


@pytest.mark.parametrize(
    ("lines", "columns"),
    [
        (["name, first;age", *(f"Doe, J{n};{n}" for n in range(9))], ["name, first", "age"]),
        (["a;b", *(f"{n},5;{n},1" for n in range(9))], ["a", "b"]),
        (["Ward 7, list;", "a;b", *(f"{n},5;x" for n in range(9))], ["a", "b"]),
        (["a\tb, c", *(f"{n}\tx, y" for n in range(9))], ["a", "b, c"]),
        (["a|b;c|d", *(f"{n}|x;y|2" for n in range(9))], ["a", "b;c", "d"]),
        (["v;g", *(f"{n},05E+03;a" for n in range(9))], ["v", "g"]),
    ],
)
def test_the_separator_is_what_cuts_header_and_rows_alike(tmp_path, lines, columns):
    assert list(read(tmp_path, *lines).columns) == columns


@pytest.mark.parametrize(
    ("lines", "item", "why"),
    [
        ([HEAD, *ROWS, "Total,1580,"], "row 41", "totals ('Total')"),
        ([HEAD, *ROWS, "Mittelwert:,39.5,", ""], "row 41", "totals ('Mittelwert:')"),
        ([HEAD, *ROWS[:20], HEAD, *ROWS[20:]], "row 21", "the header again"),
        (["age,weight", "years,kg", *(f"{20 + n},{n + 50}" for n in range(40))], "row 1", "units"),
    ],
)
def test_rows_that_are_no_data_are_listed_and_counted(tmp_path, lines, item, why):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    counts = prepare_table(path, {"table": "tabular"}, tmp_path / "out")
    listed = (tmp_path / "out" / "rejects.csv").read_text()
    assert f"{item}," in listed and why in listed
    assert (counts["rows"], counts["rows_left_out"], counts["studies"]) == (40, 1, 40)


def test_words_for_totals_that_are_data_stay(tmp_path):
    rows = [f"{('total', 'partial')[n % 2]},{n}" for n in range(40)]
    frame = read(tmp_path, "resection,days", *rows)
    assert len(frame) == 40 and not frame.attrs["left_out"]


def test_what_nobody_sees_tells_no_levels_apart(tmp_path):
    cells = ["M", "M\u200b", "\ufeffM", "F", "F\u00a0", "m\u00e4nnlich", "ma\u0308nnlich"]
    path = tmp_path / "t.csv"
    path.write_text("sex,age\n" + "".join(f"{cells[n % 7]},{n}\n" for n in range(70)), "utf-8")
    told = []
    prepare_table(path, {"table": "tabular"}, tmp_path / "out", tell=told.extend)
    assert told[0].mapping.categories == ["F", "M"] or len(told[0].mapping.categories) == 2


@pytest.mark.parametrize("texts", [["123.0", "7.0"], ["123", "123.0"]])
def test_identifiers_that_became_numbers_are_whole_again(tmp_path, texts):
    path = tmp_path / "t.csv"
    rows = "".join(f"{texts[n % 2]},v{n},{20 + n % 30}\n" for n in range(40))
    path.write_text(f"patient,visit,age\n{rows}")
    options = {"table": "tabular", "patient_id": "patient", "study_id": ["visit"]}
    counts = prepare_table(path, options, tmp_path / "out", 0, 0)
    from medcodi.data.prepared import PreparedDataset

    patients = {study.patient_id for study in PreparedDataset.load(tmp_path / "out", "train")}
    assert counts["studies"] == 40 and patients == {text.partition(".")[0] for text in texts}
