"""`medcodi data merge`: nothing lost, patients kept apart, what disagrees is named."""

import os

import numpy as np
import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.data.merge import merge_prepared
from medcodi.data.prepared import PreparedDataset
from medcodi.data.storage import FieldSpec
from medcodi.data.study import SPLITS, Study
from medcodi.data.table import Column, TableSchema
from medcodi.data.writer import PreparedWriter


def film(seed, side=24):
    return np.random.default_rng(seed).random((side, side)).astype(np.float32)


def column(name, **changes):
    own = {
        "age": {"type": "integer", "unit": "years"},
        "sex": {"type": "categorical", "categories": ["F", "M"]},
        "stage": {"type": "ordinal", "categories": ["I", "II"]},
        "load": {"type": "continuous"},
    }
    return Column(name, **{**own[name], **changes})


def write(folder, fields, columns, studies):
    schema = {name: TableSchema(list(given)) for name, given in columns.items()}
    specs = [FieldSpec(name, storage) for name, storage in fields.items()]
    with PreparedWriter(folder, specs, schema, 0.25, 0.25) as writer:
        for study in studies:
            writer.add(study)
    return folder


@pytest.fixture
def sources(tmp_path):
    """Images and rows; texts and rows; texts alone."""
    one = [
        Study(f"s{n}", f"p{n // 2}", {"view": film(n), "row": {"age": n, "sex": "FM"[n % 2]}})
        for n in range(40)
    ]
    two = [
        Study(f"s{n}", f"p{n}", {"notes": f"text {n}", "row": {"sex": "F", "load": n / 7}})
        for n in range(30)
    ]
    three = [Study(f"t{n}", f"p{n}", {"notes": f"other {n}"}) for n in range(20)]
    return {
        "one": write(
            tmp_path / "1",
            {"view": "image", "row": "table"},
            {"row": [column("age"), column("sex")]},
            one,
        ),
        "two": write(
            tmp_path / "2",
            {"notes": "text", "row": "table"},
            {"row": [column("load"), column("sex", categories=["M", "F"])]},
            two,
        ),
        "three": write(tmp_path / "3", {"notes": "text"}, {}, three),
    }


def by_split(folder):
    return {split: list(PreparedDataset.load(folder, split)) for split in SPLITS}


def test_every_study_is_there_once_with_its_values_split_and_source(sources, tmp_path):
    counts = merge_prepared(sources, tmp_path / "out", "row")
    assert counts == {"studies": 90, "one": 40, "two": 30, "three": 20, "rejects": 0}
    merged = by_split(tmp_path / "out")
    for name, folder in sources.items():
        for split, studies in by_split(folder).items():
            mine = {s.study_id: s for s in merged[split] if s.study_id.startswith(f"{name}-")}
            assert len(mine) == len(studies)
            for study in studies:
                found = mine[f"{name}-{study.study_id}"]
                assert found.patient_id == f"{name}-{study.patient_id}"
                row = found.values["row"]
                assert row["source"] == name
                known = study.values.get("row", {})
                assert {key: row[key] for key in row if row[key] is not None} == {
                    "source": name,
                    **{key: value for key, value in known.items() if value is not None},
                }
                for key in ("view", "notes"):
                    np.testing.assert_array_equal(found.values.get(key), study.values.get(key))
    schema = PreparedDataset.load(tmp_path / "out", "train").schema
    assert schema.names == ["source", "age", "sex", "load"]
    assert schema.columns[0].categories == ["one", "two", "three"]
    ages = [s.values["row"]["age"] for s in merged["train"] if s.values["row"]["age"] is not None]
    assert schema.columns[1].maximum == max(ages)  # fitted on the training split of the merge


def test_patients_of_two_sources_may_be_the_same(sources, tmp_path):
    merge_prepared(sources, tmp_path / "out", "row", same_patients={"three": "two"})
    places = {}
    for split, studies in by_split(tmp_path / "out").items():
        for study in studies:
            places.setdefault(study.patient_id, set()).add(split)
    assert "two-p3" in places and not any(patient.startswith("three") for patient in places)
    assert all(len(found) == 1 for found in places.values())


def test_the_same_radiograph_in_two_sources_is_kept_to_one_split(tmp_path):
    def source(folder, patients):
        studies = [Study(p, p, {"view": film(n) ** 0.8}) for n, p in enumerate(patients)]
        return write(folder, {"view": "image"}, {}, studies)

    folders = {
        "a": source(tmp_path / "a", [f"x{n}" for n in range(20)]),
        "b": source(tmp_path / "b", [f"y{n}" for n in range(20)]),
    }
    merge_prepared(folders, tmp_path / "out", "row")
    places = {
        s.study_id: split for split, found in by_split(tmp_path / "out").items() for s in found
    }
    assert len(places) == 40
    assert all(places[f"a-x{n}"] == places[f"b-y{n}"] for n in range(20))


@pytest.mark.parametrize(
    "fields, columns, studies, told",
    [
        (
            {"row": "table"},
            {"row": [column("age", type="continuous")]},
            [],
            r"column 'age' of 'row' has the type integer in one and continuous in new",
        ),
        ({"row": "table"}, {"row": [column("age", unit="months")]}, [], "the unit years in one"),
        (
            {"row": "table"},
            {"row": [column("sex", categories=["F", "M", "O"])]},
            [],
            r"the categories \['F', 'M'\] in one and \['F', 'M', 'O'\] in new",
        ),
        ({"view": "text"}, {}, [], "field 'view' is image in one and text in new"),
        (
            {"view": "image"},
            {},
            [Study("s", "p", {"view": film(1, 12)})],
            "images of 'view' are 24 x 24 in one and 12 x 12 in new",
        ),
        (
            {"row": "table"},
            {"row": [Column("source", "categorical", ["x"])]},
            [],
            "new has a column 'source' already",
        ),
    ],
)
def test_what_disagrees_is_named(sources, tmp_path, fields, columns, studies, told):
    new = write(tmp_path / "new", fields, columns, studies)
    with pytest.raises(ValueError, match=told):
        merge_prepared({"one": sources["one"], "new": new}, tmp_path / "out", "row")
    assert not (tmp_path / "out").exists()


def test_an_ordinal_column_keeps_its_order(tmp_path):
    folders = {
        name: write(
            tmp_path / name, {"row": "table"}, {"row": [column("stage", categories=order)]}, []
        )
        for name, order in (("a", ["I", "II"]), ("b", ["II", "I"]))
    }
    with pytest.raises(ValueError, match="column 'stage' of 'row' has the categories"):
        merge_prepared(folders, tmp_path / "out", "row")


def test_wrong_input(sources, tmp_path):
    one = {"one": sources["one"]}
    with pytest.raises(ValueError, match="at least two prepared folders, got 1"):
        merge_prepared(one, tmp_path / "out", "row")
    with pytest.raises(ValueError, match="named by letters, digits and _, got 'a-b'"):
        merge_prepared({**one, "a-b": sources["two"]}, tmp_path / "out", "row")
    with pytest.raises(ValueError, match="did you mean 'one'"):
        merge_prepared(sources, tmp_path / "out", "row", same_patients={"three": "onr"})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        merge_prepared({**one, "no": tmp_path / "no"}, tmp_path / "out", "row")
    with pytest.raises(ValueError, match="field 'view' is no table"):
        merge_prepared({k: sources[k] for k in ("one", "two")}, tmp_path / "out", "view")


def test_the_command(sources, tmp_path):
    named = [f"{name}={folder}" for name, folder in sources.items()]
    call = ["data", "merge", *named, "--output", str(tmp_path / "out"), "--table", "row"]
    result = CliRunner().invoke(app, call)
    assert result.exit_code == 0, result.output
    assert "90" in result.output and len(PreparedDataset.load(tmp_path / "out", "train")) > 30
    for wrong in (["one"], [named[0], named[0]]):
        result = CliRunner().invoke(app, ["data", "merge", *wrong, "--output", "x"])
        assert isinstance(result.exception, ValueError)


def test_a_kill_leaves_nothing_half_merged(sources, tmp_path):
    """Killed while the studies are written: the same call again gives what an uninterrupted one
    gives, to the byte."""
    merge_prepared(sources, tmp_path / "whole", "row")
    if (child := os.fork()) == 0:
        try:
            add, left = PreparedWriter.add, [40]

            def stop(self, *values, **options):
                if not left[0]:
                    os._exit(9)
                left[0] -= 1
                return add(self, *values, **options)

            PreparedWriter.add = stop
            merge_prepared(sources, tmp_path / "out", "row")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "out").exists()
    merge_prepared(sources, tmp_path / "out", "row")
    for split in SPLITS:
        name = f"{split}.arrow"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp")]
