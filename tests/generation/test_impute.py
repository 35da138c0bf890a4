"""`medcodi impute`: what is there stays to the bit, what is absent is filled and marked, counts add
up, and a run that was stopped goes on."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.data.prepared import PreparedDataset
from medcodi.data.storage import FieldSpec
from medcodi.data.study import SPLITS
from medcodi.data.writer import PreparedWriter
from medcodi.generation import impute as module
from medcodi.generation.impute import MARKS, Settings, impute
from medcodi.phantom import SCHEMA, generate
from medcodi.sources.phantom import STORAGE
from tests.tiny import SIZE

FIELDS = [FieldSpec(name, storage) for name, storage in STORAGE.items()]
SETTINGS = Settings(num_inference_steps=2, batch_size=8)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """12 studies with holes: whole values absent, cells missing, one study of a row alone."""
    folder = tmp_path_factory.mktemp("holes") / "prepared"
    with PreparedWriter(folder, FIELDS, SCHEMA, 0.2, find_duplicates=False) as writer:
        for i, study in enumerate(generate(12, seed=1, size=SIZE)):
            if i % 3 == 0:
                del study.values["frontal"]
            if i % 4 == 1:
                study.values.pop("report", None)
            if i == 5:
                study.values = {"tabular": {"heart_rate": 77.0}}
            writer.add(study)
    return folder


def studies(folder, encoded=False):
    """(split, study) of a prepared folder, images as they are stored."""
    loaded = {split: PreparedDataset.load(folder, split) for split in SPLITS}
    return [
        (split, study)
        for split, data in loaded.items()
        for study in data.batch(range(len(data)), encoded=encoded)
    ]


def marked(folder):
    return list(csv.DictReader((folder / MARKS).read_text().splitlines()))


def test_nothing_that_is_there_is_touched_and_all_that_is_absent_is_filled(
    tiny_pipeline, prepared, tmp_path
):
    counts = impute(prepared, tmp_path / "full", tiny_pipeline, SETTINGS)
    before, after = studies(prepared, True), studies(tmp_path / "full", True)
    assert [(s, x.study_id, x.patient_id, x.truth) for s, x in before] == [
        (s, x.study_id, x.patient_id, x.truth) for s, x in after
    ]
    marks = marked(tmp_path / "full")
    filled = {(m["study_id"], m["modality"]): m["columns"] for m in marks}
    assert len(filled) == len(marks) and counts["studies"] == 12
    for (_, old), (_, new) in zip(before, after, strict=True):
        for name in STORAGE:
            key = (old.study_id, name)
            if name not in old.values:
                assert filled.pop(key, None) == "" or name == "report"  # it may say nothing
            elif name == "tabular":
                columns = filled.pop(key, "").split(";")
                assert columns == [k or "" for k, v in old.values[name].items() if v is None] or (
                    columns == [""] and None not in old.values[name].values()
                )
                assert None not in new.values[name].values()
                given = {k: v for k, v in old.values[name].items() if v is not None}
                assert {k: new.values[name][k] for k in given} == given
            elif name in ("frontal", "lateral"):
                assert old.values[name].png == new.values[name].png
            else:
                assert old.values[name] == new.values[name]
    assert not filled
    index = [json.loads((f / "prepared.json").read_text()) for f in (prepared, tmp_path / "full")]
    for name in STORAGE:
        present = [sum(s["present"][name] for s in of["splits"].values()) for of in index]
        assert present[1] - present[0] == counts.get(f"{name} (whole)", 0)
    assert counts["rejects"] == 0 and not (tmp_path / "full.imputing").exists()
    assert index[1]["notes"]["model_hash"] == tiny_pipeline.model_hash


@pytest.mark.parametrize("text", ["Edema.", " "])
def test_a_report_is_filled_and_marked_and_one_that_says_nothing_stays_absent(
    tiny_pipeline, prepared, tmp_path, monkeypatch, text
):
    made = module._generated

    def generated(*arguments):
        found = made(*arguments)
        return found | {n: [text] * len(v) for n, v in found.items() if n == "report"}

    monkeypatch.setattr(module, "_generated", generated)
    counts = impute(prepared, tmp_path / "full", tiny_pipeline, SETTINGS)
    absent = {x.study_id for _, x in studies(prepared) if "report" not in x.values}
    now = {x.study_id: x.values.get("report") for _, x in studies(tmp_path / "full")}
    marks = {m["study_id"] for m in marked(tmp_path / "full") if m["modality"] == "report"}
    assert len(absent) >= 3
    assert {now[study] for study in absent} == ({text} if text.strip() else {None})
    assert marks == (absent if text.strip() else set())
    assert counts.get("report (whole)", 0) == len(marks)


def test_a_run_that_was_stopped_goes_on(tiny_pipeline, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 2)
    impute(prepared, tmp_path / "once", tiny_pipeline, SETTINGS)
    calls, whole = [], module.fill

    def stops(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(module, "fill", stops)
    with pytest.raises(KeyboardInterrupt):
        impute(prepared, tmp_path / "full", tiny_pipeline, SETTINGS)
    assert not (tmp_path / "full").exists()
    with pytest.raises(ValueError, match="holds the work of another run"):
        other = Settings(num_inference_steps=3)
        impute(prepared, tmp_path / "full", tiny_pipeline, other)
    impute(prepared, tmp_path / "full", tiny_pipeline, SETTINGS)
    once, again = studies(tmp_path / "once"), studies(tmp_path / "full")
    for (_, a), (_, b) in zip(once, again, strict=True):
        for name, value in a.values.items():
            assert (
                np.array_equal(value, b.values[name])
                if name != "tabular"
                else (value == b.values[name])
            )
    with pytest.raises(ValueError, match="exists already"):
        impute(prepared, tmp_path / "full", tiny_pipeline, SETTINGS)


def test_names_that_are_filled(tiny_run, tiny_pipeline, prepared, tmp_path):
    call = ["impute", str(prepared), "--output", str(tmp_path / "full"), "--pipeline"]
    call += [str(tiny_run.run_dir / "pipeline"), "--fill", "tabular", "--num-inference-steps", "2"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    assert {mark["modality"] for mark in marked(tmp_path / "full")} == {"tabular"}
    with pytest.raises(ValueError, match=r"unknown key 'tabula' .* did you mean 'tabular'"):
        impute(prepared, tmp_path / "no", tiny_pipeline, Settings(["tabula"]))
