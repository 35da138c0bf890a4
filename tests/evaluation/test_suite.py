"""The suite on the tiny run: every table, resumption, bad input, samples of another system, the
report."""

import csv
import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcodi.evaluation import EvaluationContext, EvaluationTable, Result, Row
from medcodi.evaluation.compare import compare
from medcodi.evaluation.labels import ColumnLabels, ReportLabels, TruthLabels
from medcodi.evaluation.per_sample import read_samples
from medcodi.evaluation.report import cell_text, row_cells
from medcodi.evaluation.suite import run_suite
from medcodi.evaluation.table import choose_tables
from medcodi.labeler import Labeler
from medcodi.turing.store import RatingStore
from tests.evaluation.parts import context_of
from tests.tiny import SIZE, write_recipe
from tests.turing.folders import write_study

OURS = ["T1", "T2", "T3", "T4", "T5", "T5b", "T6", "Fig7"]


@pytest.fixture(scope="module")
def done(tiny_run, tmp_path_factory):
    context = context_of(tiny_run, tmp_path_factory.mktemp("results"))
    return context, run_suite(context, OURS)


def test_every_table_is_measured_beside_floors(done):
    _, document = done
    states = {
        key: (table["status"], table.get("message")) for key, table in document["tables"].items()
    }
    assert {key: states[key] for key in OURS} == dict.fromkeys(OURS, ("done", None))
    for key in OURS:
        result = document["tables"][key]["result"]
        kinds = {row["kind"] for row in result["rows"]}
        assert ("paper" in kinds) == (
            key not in ("T5b", "Fig7")
        )  # a figure without published numbers
        assert result["n"] > 0 and result["rows"] and result["notes"]
        if key != "T1":
            assert {"ours", "floor"} <= kinds and result["seeds"] and result["figures"]
        assert all(Path(path).is_file() for path in result["pictures"].values())
    assert {row["kind"] for row in document["tables"]["T4"]["result"]["rows"]} >= {"baseline"}
    for row in (
        row
        for key in OURS[1:]
        for row in document["tables"][key]["result"]["rows"]
        if row["kind"] == "ours"
    ):
        assert row["n"] == 8, row  # every row of ours says its N, and has an interval
        assert any(
            isinstance(cell, dict) and cell["low"] <= cell["value"] <= cell["high"]
            for cell in row["cells"].values()
        )
    few = [
        note
        for note in document["tables"]["T2"]["result"]["notes"]
        if "8 samples are not more than its" in note
    ]
    assert (
        len(few) == 2
    )  # fewer images than features: said, for both views, and measured all the same


def test_the_report_is_self_contained_and_complete(done):
    context, document = done
    page = (context.output / "report.html").read_text()
    text = (context.output / "report.md").read_text()
    assert json.loads((context.output / "report.json").read_text()) == json.loads(
        json.dumps(document)
    )
    for key in OURS:
        assert f'id="{key}"' in page and f"## {key}" in text
    assert "T2 / A1: " in text and "T4 / A2: " in text
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.count("data:image/png;base64,") == sum(
        len(table["result"]["pictures"])
        for table in document["tables"].values()
        if table["status"] == "done"
    )
    backbones = {
        row["cells"].get("backbone")
        for row in document["tables"]["T2"]["result"]["rows"]
        if row["kind"] == "ours"
    }
    assert backbones == {"label network (frontal)", "label network (lateral)"}
    assert "nan" not in text.lower().replace("finance", "")


def test_a_rerun_repeats_nothing_and_another_setting_does(done, tiny_run):
    context, _ = done
    path = context.output / "tables" / "T1.json"
    before = path.stat().st_mtime_ns
    run_suite(EvaluationContext(context.recipe, context.output), ["T1"])
    assert path.stat().st_mtime_ns == before
    other = context_of(tiny_run, context.output, seed=1)
    document = run_suite(other, ["T1"])
    assert path.stat().st_mtime_ns > before
    assert document["tables"]["T2"]["stale"] and not document["tables"]["T1"]["stale"]


def test_generated_samples_are_kept_paired_and_resumable(done, tiny_run, tmp_path):
    context, _ = done
    again = EvaluationContext(context.recipe, context.output)
    studies = again.studies.held_out("FLT")
    apart = again.generations.samples("T", "FL", studies=studies, joint=False)
    assert "pipeline" not in vars(again.generations)  # nothing was generated: all of it was kept
    assert np.array_equal(
        np.stack(apart["F"]), np.stack(again.generations.samples("T", "F", studies=studies)["F"])
    )
    fresh = context_of(tiny_run, tmp_path)
    first = fresh.generations.samples("T", "F", studies=studies[:2])["F"]
    more = fresh.generations.samples("T", "F", studies=studies[1:4])["F"]
    assert np.array_equal(first[1], more[0])
    assert np.stack(more) == pytest.approx(np.stack(apart["F"][1:4]), abs=1e-4)
    assert not np.array_equal(
        fresh.generations.samples("T", "F", studies=studies[:2], seed=5)["F"][0], first[0]
    )


def test_without_a_pipeline_the_others_still_run(tiny_run, tmp_path):
    (tmp_path / "empty").mkdir()
    document = run_suite(context_of(tiny_run, tmp_path / "out", tmp_path / "empty"), ["T1", "T4"])
    assert document["tables"]["T1"]["status"] == "done" and document["model_hash"] is None
    assert document["tables"]["T4"]["status"] == "not applicable"
    assert "there is no pipeline in" in document["tables"]["T4"]["message"]


def write_samples(folder, context, broken=None):
    studies = context.studies.held_out("TF")
    (folder / "frontal").mkdir(parents=True)
    for study in studies:
        pixels = (study.values["frontal"] * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(folder / "frontal" / f"{study.study_id}.png")
    if broken == "nan":
        path = folder / "frontal" / f"{studies[0].study_id}.png"
        path.unlink()
        np.save(path.with_suffix(".npy"), np.full((SIZE, SIZE), np.nan, np.float32))
    if broken == "missing":
        (folder / "frontal" / f"{studies[-1].study_id}.png").unlink()


def test_samples_of_another_system_are_measured(tiny_run, tmp_path):
    context = context_of(tiny_run, tmp_path / "out", samples={"T>F": str(tmp_path / "samples")})
    write_samples(tmp_path / "samples", context)
    studies = context.studies.held_out("TF")
    read = context.generations.samples("T", "F")["F"]
    assert np.stack(read) == pytest.approx(
        np.stack(context.studies.values(studies, "F")), abs=1 / 255
    )


@pytest.mark.parametrize(
    ("route", "broken", "message"),
    [
        ("F>T", None, r"report.csv needs the columns id and text once each; not so: text"),
        ("T>F", "empty", r"has a frontal for 0 of 8 held-out studies; it lacks"),
        ("T>F", "missing", r"has a frontal for 7 of 8 held-out studies; it lacks"),
        ("T>F", "nan", r"NaN or infinite"),
    ],
)
def test_bad_samples_fail_clearly_and_the_other_tables_run(
    route, broken, message, tiny_run, tmp_path
):
    folder = tmp_path / "samples"
    context = context_of(tiny_run, tmp_path / "out", samples={route: str(folder)})
    if broken in ("nan", "missing"):
        write_samples(folder, context, broken)
    else:
        folder.mkdir()
        (folder / "report.csv").write_text("id,impression\n1,clear\n")
    failing = "T4" if route == "F>T" else "T3"
    document = run_suite(context, ["T1", failing])
    assert document["tables"][failing]["status"] == "failed"
    assert re.search(message, document["tables"][failing]["message"])
    assert document["tables"]["T1"]["status"] == "done"
    assert "failed" in (context.output / "report.md").read_text()


def test_readers_ratings_are_a_table_that_follows_new_ratings(tiny_run, tmp_path):
    folder, (first, second, _) = write_study(tmp_path, num_items=2)
    without = run_suite(context_of(tiny_run, tmp_path / "out"), ["T7"])["tables"]["T7"]
    assert (
        without["status"] == "not applicable" and "evaluation.tables.T7.study" in without["message"]
    )
    context = context_of(tiny_run, tmp_path / "out", tables={"T7": {"study": str(folder)}})
    assert "holds no ratings yet" in run_suite(context, ["T7"])["tables"]["T7"]["message"]
    truth = json.loads((folder / "truth.json").read_text())["items"]
    store = RatingStore(folder / "ratings.sqlite")
    for reader, shift in ((first, 0), (second, 1)):
        for key, told in truth.items():
            store.rate(reader, key, 4 - 2 * told["synthetic"] + shift)
    done = run_suite(context, ["T7"])["tables"]["T7"]
    rows = {row["system"]: row for row in done["result"]["rows"]}
    made, real = rows["X-ray pair: synthetic"], rows["X-ray pair: real"]
    assert (made["kind"], made["n"], real["kind"], real["n"]) == ("ours", 1, "real", 1)
    assert (made["cells"]["rating, 1 to 5"]["value"], real["cells"]["rating, 1 to 5"]["value"]) == (
        2.5,
        4.5,
    )
    assert (
        made["cells"]["synthetic - real"]["value"] == -2
        and made["cells"]["AUC of the readers"]["value"] == 1
    )
    chance = rows["X-ray pair: real and synthetic shuffled"]["cells"]
    assert chance["AUC of the readers"]["value"] == pytest.approx(0.5, abs=0.15)
    assert chance["synthetic - real"]["low"] == -2 and chance["synthetic - real"]["high"] == 2
    assert rows["MedCoDi-M, X-ray pair: real"]["cells"]["rating, 1 to 5"] == 3.8
    before = (context.output / "tables" / "T7.json").stat().st_mtime_ns
    run_suite(context, ["T7"])
    assert (context.output / "tables" / "T7.json").stat().st_mtime_ns == before
    store.rate(first, next(iter(truth)), 5)
    store.close()
    run_suite(context, ["T7"])
    assert (context.output / "tables" / "T7.json").stat().st_mtime_ns > before


def test_labels_of_one_class_fail_clearly(tiny_run, tmp_path):
    rule = {"sex": {"column": "gender_concept_name", "positive": ["female", "male", "NA"]}}
    context = context_of(tiny_run, tmp_path, labels=rule)
    document = run_suite(context, ["T1", "T3"])
    assert document["tables"]["T1"]["status"] == "done"
    assert "one class only: none of sex" in document["tables"]["T3"]["message"]


def test_label_sources(tiny_run, tmp_path):
    context = context_of(tiny_run, tmp_path)
    studies = context.studies.held_out(["F", "T", "table"])
    assert isinstance(context.labels.own, TruthLabels)
    truth = context.labels.own.of(studies)
    assert truth.shape == (len(studies), 8) and set(np.unique(truth)) <= {0, 1}
    reports = ReportLabels(Labeler.from_vocabulary("chexpert"), "report")
    read = reports.of(studies)[:, [reports.names.index(name) for name in context.labels.own.names]]
    known = ~np.isnan(read)
    assert known.any() and (read[known] == truth[known]).mean() > 0.9
    schema = context.studies.split("train").schemas["tabular"]
    columns = ColumnLabels(
        {"icu": {"column": "is_icu", "positive": ["true"]}}, "tabular", schema
    ).of(studies)
    expected = [
        {"true": 1.0, "false": 0.0}.get(s.values["tabular"]["is_icu"], np.nan) for s in studies
    ]
    assert columns[:, 0] == pytest.approx(expected, nan_ok=True)
    with pytest.raises(
        ValueError,
        match=r"unknown key 'is_icus' in evaluation.labels.icu.column; did you mean 'is_icu'",
    ):
        ColumnLabels({"icu": {"column": "is_icus", "positive": ["true"]}}, "tabular", schema)
    with pytest.raises(ValueError, match="needs `positive`"):
        ColumnLabels({"icu": {"column": "is_icu"}}, "tabular", schema)


def test_table_ids_cells_and_rows():
    assert list(choose_tables(["fig7", "A1", "T1"])) == ["T1", "T2", "Fig7"]
    assert list(choose_tables(OURS)) == OURS
    numbered = [f"T{n}" for n in range(1, 12)]  # every experiment of the papers has its table
    known = choose_tables(None)
    assert {
        *numbered,
        "T2b",
        "T5b",
        "A1",
        "A2",
        "A3",
        "A4",
        "A5",
        "Fig7",
        "hybrid",
        "tabular",
        "moments",
        "privacy",
        "follow",
        "joint",
        "bridge",
        "pairs",
    } == {alias for key, cls in known.items() for alias in (key, *cls.also)}
    with pytest.raises(ValueError, match="unknown key 'T99' in the tables"):
        choose_tables(["T99"])
    assert cell_text({"value": 0.5, "low": 0.25, "high": None, "n": 3}) == "0.500 [0.250, n/a]"
    assert [cell_text(v) for v in (None, 3, 0.0, 0.01234, 12.3456, 123.4, "x")] == [
        "n/a",
        "3",
        "0",
        "0.0123",
        "12.3",
        "123",
        "x",
    ]
    assert cell_text(2.4e-9) == "2e-09" and cell_text(-0.00012) == "-0.000120"
    assert row_cells({"kind": "paper", "cells": {"a": 10.67, "b": 0.44}}, ["a", "b", "c"]) == [
        "10.67",
        "0.44",
        "",
    ]
    assert row_cells({"kind": "ours", "cells": {"a": 10.67}}, ["a"]) == ["10.7"]
    with pytest.raises(
        ValueError, match="kind must be one of ours, baseline, floor, real, paper, got 'best'"
    ):
        Row("us", "best", {})
    with pytest.raises(ValueError, match="unknown key 'b' in the columns of table 't', row 'us'"):
        Result("t", ["a"], [Row("us", "ours", {"b": 1})], 1, [])
    assert EvaluationTable.needs == ("pipeline",)


def test_the_command_line_ends_with_json(tiny_run, tmp_path, monkeypatch, capsys):
    recipe = write_recipe(tiny_run, tmp_path / "tiny.yaml")
    call = [
        "run.py",
        "--config",
        str(recipe),
        "--tables",
        "T1",
        "--output",
        str(tmp_path / "out"),
        "--num-studies",
        "4",
        "evaluation.seed=3",
    ]
    monkeypatch.setattr(sys, "argv", call)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(Path(__file__).parents[2] / "eval" / "run.py"), run_name="__main__")
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["tables"]["T1"]["status"] == "done"
    settings = json.loads((tmp_path / "out" / "report.json").read_text())["settings"]
    assert (settings["num_studies"], settings["seed"]) == (4, 3)


def test_values_by_study_and_pairs_of_reports_are_handed_over(done):
    """What medcodi evaluate compare and packages of report metrics read."""
    context, document = done
    for key, metric in {
        "T3": "Brier score",
        "T4": "BLEU-4",
        "T5": "mentions a prior study",
        "T5b": "observations that agree, uncertain positive",
        "T6": "cosine, independent encoder",
        "Fig7": "Hamming distance",
    }.items():
        samples = read_samples(context.output / "samples" / f"{key}.csv")
        found = [told for (_, name), told in samples.items() if name == metric]
        assert found and all(len(told.studies) == len(told.values) > 1 for told in found), key
    run_suite(context, OURS)  # another test has measured with other settings: these are stale
    (row, *_) = compare(context.output, context.output, ["T4"], 50, 10)
    assert row.p == 1.0 and row.difference.value == 0
    with open(context.output / "reports" / "F_to_T.csv", newline="") as file:
        pairs = list(csv.DictReader(file))
    studies = {s.study_id: s.values["report"] for s in context.studies.held_out(["F", "T"])}
    assert {row["study_id"]: row["reference"] for row in pairs} == studies
    assert "subgroups" in document["tables"]["T5"]
