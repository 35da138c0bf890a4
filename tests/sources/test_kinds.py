"""Tables as hospitals write them: what a column is, what is told, and what is refused."""

import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.modalities.tabular import TabularModality
from medcodi.sources.finding import ColumnCorrection
from medcodi.sources.kinds import infer
from medcodi.sources.tables import prepare_table

ROWS = 40


def prepare(tmp_path, text, name="a.csv", encoding="utf-8", **options):
    (tmp_path / name).write_bytes(text.encode(encoding))
    told = []
    options = {"table": "row", **options}
    counts = prepare_table(tmp_path / name, options, tmp_path / "out", tell=told.extend)
    assert counts["cells"] == sum(
        counts[f"cell{key}"] for key in ("s_used", "s_missing", "_rejects")
    )
    studies = {
        s.study_id: s for split in SPLITS for s in PreparedDataset.load(tmp_path / "out", split)
    }
    rows = [studies[name].values["row"] for name in sorted(studies)]
    return {decision.column: decision for decision in told}, rows


def table(header, row, separator=","):
    """A csv text of ROWS rows; `row` gives the cells of row i."""
    lines = [separator.join(map(str, row(i))) for i in range(ROWS)]
    return "\n".join([header, *lines, ""])


def test_numbers_that_differ_in_the_last_digit_stay_apart(tmp_path):
    told, rows = prepare(tmp_path, table("a,b", lambda i: (1234567 + i % 2, i * 3)))
    assert told["a"].mapping.categories == ["1234567", "1234568"]
    assert Counter(row["a"] for row in rows) == {"1234567": 20, "1234568": 20}


def test_long_codes_and_leading_zeros_are_texts(tmp_path):
    codes = ["12345678901234567", "12345678901234568"], ["007", "7"]
    told, rows = prepare(
        tmp_path, table("a,b,x", lambda i: (codes[0][i % 2], codes[1][i % 2], i / 2))
    )
    assert told["a"].kind == told["b"].kind == "categorical"
    assert {row["a"] for row in rows} == set(codes[0]) and {row["b"] for row in rows} == {
        "007",
        "7",
    }


AMBIGUOUS = {
    "point in a semicolon file": (
        "a;b",
        lambda i: (f"1.{741 + 2 * i}", f"{i},6"),
        ";",
        "1.741 (.*) or 1741 ",
    ),
    "comma in a comma file": (
        "a,b",
        lambda i: (f'"{310 + i},500"', i * 3),
        ",",
        "310.5 .* or 310500",
    ),
    "month or day": (
        "a,b",
        lambda i: (f"03/{1 + i % 12:02d}/2020", i * 3),
        ",",
        "1 March 2020 .* or 3 January 2020",
    ),
    "century": (
        "a,b",
        lambda i: (f"25.12.{i + 10}", i * 3),
        ",",
        "25 December 1910 or 25 December 2010",
    ),
    "serial day": (
        "a date,b",
        lambda i: (43910 + 3 * i, i / 2),
        ",",
        "43910' is a number or 20 March 2020",
    ),
    "unit": (
        "a,b",
        lambda i: (f"{i} {'mg/L' if i % 2 else 'g/L'}", i * 3),
        ",",
        "the unit changes",
    ),
    "percent": ("a,b", lambda i: (f"{i}%" if i % 2 else i / 100, i * 3), ",", "the unit changes"),
    "plus and minus": ("a,b", lambda i: ("+-"[i % 2], i * 3), ",", "no value or for negative"),
    "tick": ("a,b", lambda i: ("x" if i % 2 else "", i * 3), ",", "a blank beside 'x' is no value"),
    "code for missing": (
        "a,b",
        lambda i: ("-999" if i % 9 == 0 else i % 40, i * 3),
        ",",
        "is a far-off number or stands for no value",
    ),
    "unit of the name": (
        "a [mg/L],b",
        lambda i: (f"{i} mg/dL", i * 3),
        ",",
        "its name says 'mg/L', its cells say 'mg/dL'",
    ),
    "case": ("a,b", lambda i: ("Aa"[i % 2], i * 3), ",", "differ in case only"),
    "orders": ("a,b", lambda i: (["13/04/2020", "04/13/2020"][i % 2], i), ",", "several forms"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_two_readings_are_told_and_refused(tmp_path, case):
    header, row, separator, match = AMBIGUOUS[case]
    with pytest.raises(ValueError, match=match) as error:
        prepare(tmp_path, table(header, row, separator))
    assert "Settle it under `columns:`" in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("case", "correction", "value"),
    [
        ("point in a semicolon file", {"decimal": "."}, 1.741),
        ("point in a semicolon file", {"decimal": ",", "thousands": "."}, 1741),
        ("comma in a comma file", {"decimal": ","}, 310.5),
        ("comma in a comma file", {"thousands": ","}, 310500),
        ("month or day", {"date_format": "%m/%d/%Y"}, 0),
        ("century", {"date_format": "%d.%m.%y", "first_year": 1900}, 0),
        ("plus and minus", {"keep": ["-"]}, "+"),
        ("tick", {"type": "categorical", "categories": ["no", "x"], "map": {"": "no"}}, "no"),
        ("code for missing", {"missing": ["-999"]}, None),
        ("code for missing", {"type": "integer"}, -999),
        ("case", {"type": "categorical", "categories": ["A", "a"]}, "A"),
    ],
)
def test_one_line_settles_them(tmp_path, case, correction, value):
    header, row, separator, _ = AMBIGUOUS[case]
    told, rows = prepare(tmp_path, table(header, row, separator), columns={"a": correction})
    assert not told["a"].ambiguous and rows[0]["a"] == value


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        (["1.741", "42,6", "7,25", "8,5"] * 9, "ordinal", "4 numbers"),
        (["1,5", "2,5", *map(str, range(3, 40))], "continuous", "1.5 to 39"),
        ([*map(str, range(0, 180, 3)), ">89"], "integer", "1 beyond a bound"),
        (["<0.1", "0.2", "0.3"] * 9, "ordinal", "3 numbers"),
        (["2020-03-01", "2020-03-05", "2021-01-01"], "datetime", "3 dates as %Y-%m-%d"),
        (["10:30", "23:59", "7:05"], "datetime", "3 times as %H:%M"),
        ([f"{n} mg/L" for n in range(5, 45)], "integer", "whole numbers"),
        (["120/80", "130/85", "118/70"], "text", "pairs of numbers"),
        (["hemolyzed", *map(str, range(0, 20, 2)), "clotted"], "identifier", "each value once"),
        (["hemolyzed"] * 9 + [str(n) for n in range(0, 60, 2)], "text", '`missing: ["hemolyzed"]`'),
    ],
)
def test_kinds_and_reasons(values, kind, why):
    found = infer(values)
    assert found.kind == kind and why in found.why and not found.ambiguous


def test_identifiers_by_their_name():
    numbers = [str(10000032 + 17 * (n // 2)) for n in range(60)]
    assert (
        infer(numbers, "subject_id").kind == "identifier"
        and infer(numbers, "dose").kind == "integer"
    )


def test_what_was_changed_is_told(tmp_path):
    spellings = ["yes", "Y", "TRUE", "1", "no", "N", "0", "False"]
    text = table(
        "sex,flag,Weight (kg),d",
        lambda i: (
            ["m", "M ", "M", "F"][i % 4],
            spellings[i % 8],
            f"{i}.5",
            "NaT" if i % 9 == 0 else f"2020-03-{1 + i % 28:02d}",
        ),
    )
    told, rows = prepare(tmp_path, text)
    assert told["sex"].mapping.categories == ["F", "M"] and "'m' (10) is 'M'" in told["sex"].changed
    assert "10 cells had blanks around them" in told["sex"].changed
    assert len(told["flag"].mapping.categories) == 2 and len(told["flag"].changed) == 6
    assert told["Weight (kg)"].mapping.unit == "kg" and rows[1]["Weight (kg)"] == 1.5
    assert "no value: 'NaT' (5)" in told["d"].changed and rows[0]["d"] is None


FORMS = {
    "visit": lambda i: f"{1 + i % 28}.{1 + i % 12}.2020",
    "seen": lambda i: f"2020-03-{1 + i % 28:02d} {i % 24:02d}:30",
    "age": lambda i: ">89" if i % 8 == 0 else str(20 + i),
    "crp": lambda i: "<0,1 mg/L" if i % 7 == 0 else f"{i},5 mg/L",
    "cost": lambda i: f"{i + 1}.234,50",
    "share": lambda i: f"{i}%",
    "sex": lambda i: "MF"[i % 2],
}


def test_generated_rows_have_the_forms_of_the_table(tmp_path):
    text = table(";".join(FORMS), lambda i: [form(i) for form in FORMS.values()], ";")
    _, rows = prepare(tmp_path, text)
    schema = PreparedDataset.load(tmp_path / "out", "train").schemas["row"]
    modality = TabularModality("row", {}, {"schema": schema.to_dicts()})
    shown = modality.to_user(modality.collate(rows))
    given = pd.DataFrame({name: [form(i) for i in range(ROWS)] for name, form in FORMS.items()})
    assert shown["sex"].tolist() == given["sex"].tolist()
    assert set(shown["visit"].str.count(r"^\d{1,2}\.\d{1,2}\.2020$")) == {1}
    assert set(shown["seen"].str.count(r"^2020-03-\d\d \d\d:\d\d$")) == {1}
    assert shown["age"][0] == ">89" and shown["age"][1].isdigit()
    assert shown["crp"][7] == "<0,1 mg/L" and set(shown["crp"].str.count(r"^<?\d+,\d mg/L$")) == {1}
    assert set(shown["cost"].str.count(r"^\d+\.\d{3},50$")) == {1}
    stored = modality.from_user(given)
    assert stored == rows  # what users write is read as the table is
    (name,) = modality.write(given[:1], tmp_path, ["one"])
    assert modality.read(tmp_path / name) == rows[:1]
    written = (tmp_path / name).read_text().splitlines()[1].split(";")
    assert written == given.iloc[0].tolist()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-16"])
def test_encodings(tmp_path, encoding):
    text = table("Größe,ort", lambda i: (i / 2, ["Köln", "Düren"][i % 2]))
    told, rows = prepare(tmp_path, text, encoding=encoding)
    assert list(told) == ["Größe", "ort"] and rows[0] == {"Größe": 0, "ort": "Köln"}


def test_quoted_newlines_and_separators(tmp_path):
    text = '"a, b","c\nd"\n' + "".join(
        f'{i / 2},"{["x", "y"][i % 2]}\nz, w"\n' for i in range(ROWS)
    )
    told, rows = prepare(tmp_path, text)
    assert list(told) == ["a, b", "c d"] and rows[1] == {"a, b": 0.5, "c d": "y\nz, w"}


def test_patients_with_several_rows_stay_together(tmp_path):
    text = table("subject_id,x", lambda i: (10000032 + 17 * (i // 2), i / 2))
    prepare(tmp_path, text)
    patients = [PreparedDataset.load(tmp_path / "out", split).patient_ids for split in SPLITS]
    assert sum(map(len, patients)) == ROWS and len(set().union(*patients)) == ROWS // 2
    assert not set(patients[0]) & set(patients[1])


def test_typed_files(tmp_path):
    pytest.importorskip("openpyxl")
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2020-01-01", periods=ROWS),
            "n": [1234567 + i * 3 for i in range(ROWS)],
            "x": [None, *(i / 4 for i in range(1, ROWS))],
            "flag": [True, False] * (ROWS // 2),
        }
    )
    found = []
    for name in ("a.xlsx", "a.parquet"):
        frame.to_excel(tmp_path / name, index=False) if name == "a.xlsx" else frame.to_parquet(
            tmp_path / name
        )
        told = []
        out = tmp_path / name.replace(".", "_")
        prepare_table(tmp_path / name, {"table": "row"}, out, tell=told.extend)
        assert [decision.kind for decision in told] == [
            "datetime",
            "integer",
            "continuous",
            "categorical",
        ]
        rows = [s for split in SPLITS for s in PreparedDataset.load(out, split)]
        found.append([study.values["row"] for study in sorted(rows, key=lambda s: s.study_id)])
    assert found[0] == found[1] and found[0][1] == {
        "when": 1,
        "n": 1234570,
        "x": 0.25,
        "flag": "False",
    }


def test_bounds_in_words_and_what_is_no_unit(tmp_path):
    told, rows = prepare(
        tmp_path,
        table(
            "age,visit,crp",
            lambda i: (
                "90 or older" if i % 9 == 0 else 20 + i % 60,
                f"{1 + i % 14}. März 2020",
                "BLQ" if i % 5 == 0 else f"{i / 7:.2f}",
            ),
        ),
    )
    assert told["age"].kind == "integer" and rows[0]["age"] > 90 > rows[1]["age"]
    assert told["visit"].mapping.date_format == "de: %d. %B %Y"  # and no unit "März 2020"
    assert rows[3]["visit"] == 3.0  # days since the first
    assert 'censored: {"BLQ": BOUND}' in told["crp"].why


@pytest.mark.slow
def test_very_many_columns(tmp_path):
    """CPU seconds, with room for a slow machine: 18 were measured, 104 before."""
    cells = np.random.default_rng(0).random((5, 20_000)).round(3)
    frame = pd.DataFrame(cells, columns=[f"g{n}" for n in range(20_000)])
    start = time.process_time()
    prepare(tmp_path, frame.to_csv(index=False))
    assert time.process_time() - start < 60


def test_numbers_in_brackets_are_negative():
    found = infer(["(7.56)", "3.20", "1.10", "(0.50)", "12.00"] * 8, "balance")
    assert found.kind == "ordinal"
    assert found.details["categories"] == ["-7.56", "-0.50", "1.10", "3.20", "12.00"]
    assert "'(7.56)' is -7.56, and 1 more" in found.changed
    many = infer([f"{n}.5" for n in range(40)] + ["(3.25)"], "balance")
    assert many.kind == "continuous" and many.details["map"]["(3.25)"] == "-3.25"
    assert infer(["(a)", "(b)"] * 9).kind == "categorical"


@pytest.mark.parametrize(
    ("values", "told", "line"),
    [
        (["~74", "80", "~66", "90", "71"], "others are not", 'missing: ["~74", "~66"]'),
        (["inf", "1.5", "2.5", "3"], "others are not", 'missing: ["inf"]'),
        (["12*", "14", "18", "20"], "others are not", "type: categorical"),
        (["045Y", "006M", "078Y"], "ages as DICOM writes them", 'type: integer, suffix: "Y"'),
        (["1.234", "12.000", "310.500", "980"], "'1.234' is 1.234", 'decimal: ",", thousands: "."'),
        (["2020-03-24", "9999-12-31"], "stands for no value", 'missing: ["9999-12-31"]'),
        (["2020-03-24", "1900-01-01"], "stands for no value", 'keep: ["1900-01-01"]'),
        (["36:15", "8:05"], "36 h 15 min", 'date_format: "[h]:mm"'),
        (["14:30 CET", "14:30 CEST"], "several zones (CEST, CET)", "type: drop"),
        (["5 10 9/L", "6 10 9/L", "7 10 9/L"], "a text behind it", 'suffix: " 10 9/L"'),
        ([f"{n}% {'RA' if n % 2 else '2L'}" for n in range(80, 99)], "'80% 2L'", "type: drop"),
        ([f"{n} ft {m} in" for n in (5, 6) for m in range(12)], "'5 ft 0 in'", "type: drop"),
        ([f"{n} days 21:06:44" for n in range(3, 9)], "looks like a time", 'date_format: "FORM"'),
    ],
)
def test_what_looks_like_numbers_or_dates_and_is_not_is_no_category(values, told, line):
    found = infer(values * 8, "value")
    assert told in found.ambiguous and line in found.ambiguous


def test_durations_and_ordinal_days_are_days(tmp_path):
    row = lambda i: (f"{20 + i}:05:30", f"{'1er' if i % 28 == 0 else i % 28 + 1} mars 2024", i * 3)
    told, rows = prepare(tmp_path, table("stay,day,b", row))
    assert told["stay"].mapping.origin == "1900-01-01"
    assert rows[16]["stay"] == pytest.approx(1.5 + 330 / 86400) and rows[28]["day"] == 0


def test_a_suffix_may_be_any_text():
    texts = [f"{n}.5 10 9/L" for n in range(40)]
    found = infer(texts, "wbc", ColumnCorrection(suffix=" 10 9/L"))
    assert found.kind == "continuous" and found.details["suffix"] == " 10 9/L"


def test_a_line_settles_numbers_beside_texts_and_far_days():
    values = ["12*", "14", "18", "20"] * 8
    assert infer([v for v in values if v != "12*"], "value").kind == "ordinal"
    kept = ColumnCorrection(keep=["9999-12-31"])
    assert not infer(["2020-03-24", "9999-12-31"] * 8, "day", kept).ambiguous
    assert infer(["5.1 ± 0.2", "4.9 ± 0.1"] * 8).kind == "text"
