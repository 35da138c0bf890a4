"""Source `stony_brook` on a miniature of the TCIA tree, made of ramps and invented rows. No patient
stands behind it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.phantom import SCHEMA
from medcodi.sources import get_source
from medcodi.sources.stony_brook import PATIENT
from tests.sources.dicom_files import ramp
from tests.sources.sbu_tree import write_tree

OPTIONS = {"front": "frontal", "table": "tabular", "size": 24}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("sbu") / "tree")


def prepare(source, name, **options):
    out = source.with_name(name)
    return out, get_source("stony_brook")(source, {**OPTIONS, **options}, out, num_workers=2)


def tables(out):
    studies = [study for split in SPLITS for study in PreparedDataset.load(out, split)]
    return {study.values["tabular"]["length_of_stay"]: study for study in studies}


@pytest.fixture(scope="module")
def paper(source):
    return prepare(source, "paper")


def test_the_cases_of_the_paper(paper):
    out, counts = paper
    assert counts["cases of the table"] == 12 and counts["cases without a frontal image"] == 1
    assert counts["studies"] == counts["images"] == 11
    assert json.loads((out / "prepared.json").read_text())["test"] == 0.2
    for study in tables(out).values():  # the earliest frontal one, not the lower series number
        np.testing.assert_allclose(study.values["frontal"][0, 2:22], ramp()[0] / 4095, atol=1e-4)
    assert "A00000" not in (out / "prepared.json").read_text() + (out / "rejects.csv").read_text()


def test_the_variables_are_those_of_the_phantom_and_of_the_paper(paper):
    schema = PreparedDataset.load(paper[0], "train").schema
    assert schema.names == SCHEMA.names and len(schema.names) == 13
    kinds = {column.name: column.is_discrete for column in schema.columns}
    assert kinds == {column.name: column.is_discrete for column in SCHEMA.columns}


def test_cells_and_imputation(paper):
    out, counts = paper
    rows = {number: study.values["tabular"] for number, study in tables(out).items()}
    assert (
        rows[1]["gender_concept_name"] == "female" and rows[2]["gender_concept_name"] == "missing"
    )
    assert rows[1]["age_splits"] == "(59,74]" and rows[1]["visit_concept_name"] == "emergency"
    assert (
        rows[1]["is_icu"] == "true"
        and rows[3]["last_status"] == "deceased"
        and rows[4]["acute_kidney_injury"] == "no"
    )
    assert counts["imputed gender_concept_name"] == 3 and counts["imputed heart_rate"] == 1
    seen = {
        study.values["tabular"]["length_of_stay"]
        for split in SPLITS[:2]
        for study in PreparedDataset.load(out, split)
    }
    known = [60 + number for number in seen if number != 6]
    assert rows[6]["heart_rate"] == pytest.approx(sum(known) / len(known))
    assert "expected a number, got 'high'" in (out / "rejects.csv").read_text()


def test_what_is_not_taken_is_listed(paper):
    rejects = (paper[0] / "rejects.csv").read_text()
    for reason in (
        "another image of this view",
        "not a frontal image",
        "the clinical table has no such patient",
        "the case has no frontal image",
        "Modality is CT",
        "not a DICOM file",
    ):
        assert reason in rejects


def test_every_rule_is_a_switch(source):
    out, counts = prepare(
        source, "raw", require_image=False, impute_categories=False, impute_numbers=False
    )
    found = tables(out)
    assert counts["studies"] == 12 and set(found[11].values) == {"tabular"}
    assert (
        found[2].values["tabular"]["gender_concept_name"]
        is found[6].values["tabular"]["heart_rate"]
        is None
    )
    assert not [name for name in counts if name.startswith("imputed")]


def test_variables_by_the_rule(source):
    out, _ = prepare(source, "rule", variables="rule", max_missing=0.1)
    names = PreparedDataset.load(out, "train").schema.names
    assert (
        "8331-1_Oral temperature" in names and "gender_concept_name" not in names
    )  # 3 of 11 are missing
    assert not {"covid19_statuses", "kidney_transplant", "htn_v", "was_ventilated", PATIENT} & set(
        names
    )  # constants


def test_wrong_input(source, tmp_path):
    with pytest.raises(ValueError, match="did you mean 'paper'"):
        prepare(source, "x", variables="papers")
    with pytest.raises(ValueError, match="max_missing belongs to the variables of the rule"):
        prepare(source, "x", max_missing=0.2)
    with pytest.raises(ValueError, match="max_missing is a share, got 5"):
        prepare(source, "x", max_missing=5)
    (tmp_path / "s").mkdir()
    with pytest.raises(ValueError, match="holds 0 csv files with a column to_patient_id"):
        get_source("stony_brook")(tmp_path / "s", OPTIONS, tmp_path / "out")
    for text, match in (
        ("id\n1\n", "unknown key 'to_patient_id'"),
        (f"{PATIENT}\nA\nA\n", "must name each patient once"),
        (f"{PATIENT},last.status\nA1,\n", "in the columns of the clinical table"),
    ):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ValueError, match=match):
            get_source("stony_brook")(
                tmp_path / "s",
                OPTIONS | {"require_image": False},
                tmp_path / "out",
                tmp_path / "t.csv",
            )


@pytest.mark.parametrize("name", ["stony_brook", "dicom"])
def test_the_command(source, tmp_path, name):
    call = [
        "prepare",
        name,
        str(source),
        "--output",
        str(tmp_path / "out"),
        "--private",
        str(tmp_path / "private"),
        "--size",
        "24",
        "--num-workers",
        "1",
        "--validation",
        "0.3",
        "--test",
        "0.1",
    ]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    index = json.loads((tmp_path / "out" / "prepared.json").read_text())
    assert index["notes"]["source"] == name and (index["validation"], index["test"]) == (0.3, 0.1)
    assert (tmp_path / "private" / "rejects.csv").is_file()
