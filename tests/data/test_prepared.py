import json
import pickle
import resource
import shutil

import datasets
import numpy as np
import pandas as pd
import pytest

from medcodi.data.prepared import PreparedDataset, dataset_identity
from medcodi.data.storage import FieldSpec, decode_image, encode_image
from medcodi.data.study import SPLITS, Study, split_of
from medcodi.data.table import TableSchema
from medcodi.data.writer import PreparedWriter

FIELDS = [
    FieldSpec("view", "image"),
    FieldSpec("notes", "text"),
    FieldSpec("row", "table"),
    FieldSpec("wave", "vector", (2, 4)),
]
COLUMNS = [
    {"name": "age", "type": "integer"},
    {"name": "load", "type": "continuous"},
    {"name": "sex", "type": "categorical", "categories": ["F", "M"]},
]


def schema() -> TableSchema:
    return TableSchema.from_dicts([dict(column) for column in COLUMNS])


def studies(count: int = 60) -> list[Study]:
    """Two studies a patient; study i has the field j when bit j of i + 1 is set."""
    generator = np.random.default_rng(0)
    made = []
    for i in range(count):
        all_values = {
            "view": generator.random((5, 7), np.float32),
            "notes": f"finding {i}\nÄ second line",
            "row": {"age": 20 + i, "load": None if i % 4 == 0 else i / 8, "sex": "FM"[i % 2]},
            "wave": generator.standard_normal((2, 4)).astype(np.float32),
        }
        bits = i % 15 + 1
        values = {
            name: value for j, (name, value) in enumerate(all_values.items()) if bits >> j & 1
        }
        made.append(
            Study(f"s{i}", f"p{i // 2}", values, {"effusion": np.float32(0.5)} if i % 2 else None)
        )
    return made


def write(folder, items, **keywords):
    with PreparedWriter(folder, FIELDS, schema(), **keywords) as writer:
        for study in items:
            writer.add(study)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write(tmp_path_factory.mktemp("prepared") / "toy", studies(), validation=0.2, test=0.2)


def rejects(folder) -> dict[str, str]:
    frame = pd.read_csv(folder / "rejects.csv", dtype=str)
    return dict(zip(frame["item"], frame["reason"], strict=True))


def test_every_value_comes_back_and_absence_stays_absence(prepared):
    expected = {study.study_id: study for study in studies()}
    for split in SPLITS:
        dataset = PreparedDataset.load(prepared, split)
        assert len(dataset) > 0
        for i, found in enumerate(dataset.batch(range(len(dataset)))):
            study = expected.pop(found.study_id)
            assert found.patient_id == study.patient_id
            assert split_of(study.patient_id, 0.2, 0.2) == split
            assert list(found.values) == [name for name in dataset.names if name in study.values]
            assert found.truth == (None if study.truth is None else {"effusion": 0.5})
            assert dataset.present[i].tolist() == [name in study.values for name in dataset.names]
            if "view" in found.values:
                assert found.values["view"].dtype == np.float32
                np.testing.assert_allclose(
                    found.values["view"], study.values["view"], atol=0.5001 / 65535
                )
            if "wave" in found.values:
                np.testing.assert_array_equal(found.values["wave"], study.values["wave"])
            for name in {"notes", "row"} & set(found.values):
                assert found.values[name] == study.values[name]
    assert not expected


def test_images_keep_12_bits_exactly():
    levels = np.arange(4096, dtype=np.float32).reshape(64, 64) / 4095
    back = decode_image(encode_image(levels))
    np.testing.assert_array_equal(np.round(back * 4095), np.arange(4096).reshape(64, 64))
    np.testing.assert_array_equal(encode_image(back), encode_image(levels))


def test_absent_values_are_nulls_in_plain_arrow(prepared):
    rows = datasets.Dataset.from_file(str(prepared / "train.arrow"))
    dataset = PreparedDataset.load(prepared, "train")
    for j, name in enumerate(dataset.names):
        assert rows.data.column(name).null_count == (~dataset.present[:, j]).sum() > 0
    assert rows.data.column("row").chunk(0).type.num_fields == 3


def test_schema_is_fitted_on_the_training_split_only(prepared):
    train = [
        s for s in studies() if split_of(s.patient_id, 0.2, 0.2) == "train" and "row" in s.values
    ]
    expected = schema().fit([study.values["row"] for study in train])
    assert PreparedDataset.load(prepared, "test").schema == expected
    ages = [study.values["row"]["age"] for study in train]
    assert (expected.columns[0].minimum, expected.columns[0].maximum) == (min(ages), max(ages))


def test_splits_do_not_depend_on_the_order(prepared, tmp_path):
    other = write(tmp_path / "reversed", studies()[::-1], validation=0.2, test=0.2)
    for split in SPLITS:
        ids = [set(PreparedDataset.load(folder, split).study_ids) for folder in (prepared, other)]
        assert ids[0] == ids[1]


def test_the_identity_is_of_the_content(prepared, tmp_path):
    """The same studies, one pixel of one of them changed: counts and schemas do not tell, checksums
    do."""
    shutil.copytree(prepared, tmp_path / "moved")
    assert dataset_identity(tmp_path / "moved") == dataset_identity(prepared)
    for name, change in (("same", 0.0), ("changed", 1.0)):
        made = studies()
        next(study for study in made if "view" in study.values).values["view"][0, 0] *= 1 - change
        write(tmp_path / name, made, validation=0.2, test=0.2)
    same, changed, before = (
        dataset_identity(folder) for folder in (tmp_path / "same", tmp_path / "changed", prepared)
    )
    assert same == before != changed
    of_content = {"checksums": None, "greys": None}
    assert {**changed[0], **of_content} == {**before[0], **of_content} and changed[1] == before[1]


def test_counts_in_prepared_json(prepared):
    index = json.loads((prepared / "prepared.json").read_text())
    assert sum(split["studies"] for split in index["splits"].values()) == 60
    for split, counts in index["splits"].items():
        dataset = PreparedDataset.load(prepared, split)
        assert counts["present"] == dict(
            zip(dataset.names, dataset.present.sum(0).tolist(), strict=True)
        )
        assert sum(counts["combinations"].values()) == len(dataset)
    assert "view+notes+row+wave" in index["splits"]["train"]["combinations"]


def test_having_select_names_and_pickle(prepared):
    dataset = PreparedDataset.load(prepared, "train")
    both = dataset.having("wave", "view")
    assert both.study_ids == [s.study_id for s in dataset if {"wave", "view"} <= set(s.values)]
    assert both.present[:, [0, 3]].all() and len(both) == len(both.present)
    assert both.select([1, 0]).study_ids == both.study_ids[1::-1]
    assert [s.study_id for s in both.batch([1, 0])] == both.study_ids[1::-1]
    narrow = PreparedDataset.load(prepared, "train", names=["wave", "notes"])
    assert narrow.names == ["wave", "notes"] and narrow.schema is None
    assert set().union(*(study.values for study in narrow)) == {"wave", "notes"}
    np.testing.assert_array_equal(narrow.present, dataset.present[:, [3, 1]])
    copy = pickle.loads(pickle.dumps(both))
    assert copy[0].study_id == both[0].study_id and copy.batch([]) == []
    with pytest.raises(ValueError, match=r"unknown key 'vew'.*did you mean 'view'"):
        dataset.having("vew")
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_nothing_is_lost(tmp_path):
    good = {"notes": "fine"}
    items = [
        Study("a", "1", {**good, "row": {"age": 4}}),
        Study("a", "2", good),  # duplicate
        Study("b", "1", {}),
        Study("c", "1", {"notes": None}),
        Study("d", "1", {**good, "view": np.full((2, 2), np.nan)}),
        Study("e", "1", {**good, "view": np.full((2, 2), 1.5)}),
        Study("f", "1", {**good, "view": np.zeros((2, 2, 3))}),
        Study("g", "1", {**good, "wave": np.zeros((2, 3))}),
        Study("h", "1", {"notes": "  ", "row": {"age": 5.5, "sex": "X", "load": 1.0}}),
        Study("i", "1", {**good, "row": {"age": None, "sex": None}}),
        Study("j", "1", {**good, "row": {"load": "many"}}),
    ]
    with PreparedWriter(tmp_path / "p", FIELDS, schema(), 0, 0) as writer:
        accepted = [item.study_id for item in items if writer.add(item)]
        writer.reject("elsewhere", "two\nlines")
    assert accepted == ["a", "d", "e", "f", "g", "h", "i", "j"]
    assert PreparedDataset.load(tmp_path / "p", "train").study_ids == accepted
    found = rejects(tmp_path / "p")
    assert len(accepted) + sum(item in {"a", "b", "c"} for item in found) == len(items)
    for item, reason in {
        "a": "already added",
        "b": "no modality",
        "c": "no modality",
        "d/view": "not finite",
        "e/view": r"pixels in [0, 1]",
        "f/view": "(2, 2, 3)",
        "g/wave": "shape (2, 4), got (2, 3)",
        "h/notes": "not blank",
        "h/row.age": "expected an integer, got 5.5",
        "h/row.sex": "'X' is not one of ['F', 'M']",
        "i/row": "every column of the row is missing",
        "j/row.load": "expected a number, got 'many'",
        "j/row": "every column of the row is missing",
        "elsewhere": "two lines",
    }.items():
        assert reason in found[item], item


def test_rejects_csv_is_written_even_when_empty(prepared):
    assert (prepared / "rejects.csv").read_text().strip() == "item,reason"


def test_a_failure_leaves_nothing_behind(tmp_path):
    with (
        pytest.raises(RuntimeError, match="boom"),
        PreparedWriter(tmp_path / "p", FIELDS, schema()) as writer,
    ):
        writer.add(studies(1)[0])
        raise RuntimeError("boom")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    generator = np.random.default_rng(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with (
            pytest.raises(OSError, match=r"."),
            PreparedWriter(tmp_path / "p", [FieldSpec("view", "image")]) as writer,
        ):
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (200_000, hard)
            )  # writes beyond it fail, as on a full disk
            for i in range(20):
                writer.add(Study(f"s{i}", "1", {"view": generator.random((100, 100))}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_overwrite(tmp_path):
    folder = write(tmp_path / "p", studies(20))
    with pytest.raises(ValueError, match="exists already"):
        write(folder, studies(20))
    write(folder, studies(30), overwrite=True)
    assert sum(len(PreparedDataset.load(folder, split)) for split in SPLITS) == 30
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_load_errors(prepared, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        PreparedDataset.load(tmp_path / "none", "train")
    with pytest.raises(ValueError, match="not a prepared folder"):
        PreparedDataset.load(tmp_path, "train")
    with pytest.raises(ValueError, match=r"'trian'.*did you mean 'train'.*test, train, validation"):
        PreparedDataset.load(prepared, "trian")
    with pytest.raises(ValueError, match=r"'veiw'.*did you mean 'view'"):
        PreparedDataset.load(prepared, "train", names=["veiw"])
    for name in ("prepared.json", "train.arrow"):
        (tmp_path / name).write_bytes((prepared / name).read_bytes())
    with open(tmp_path / "train.arrow", "r+b") as file:
        file.truncate(3000)
    with pytest.raises(ValueError, match="corrupted"):
        PreparedDataset.load(tmp_path, "train")


def test_specification_errors(tmp_path):
    with pytest.raises(ValueError, match="storage must be one of"):
        FieldSpec("a", "picture")
    with pytest.raises(ValueError, match="needs a shape"):
        FieldSpec("a", "vector")
    with pytest.raises(ValueError, match="cannot be named 'truth'"):
        FieldSpec("truth", "text")
    with pytest.raises(ValueError, match="distinct names"):
        PreparedWriter(tmp_path / "p", [FieldSpec("a", "text"), FieldSpec("a", "image")])
    with pytest.raises(ValueError, match=r"table fields are \['t'\]"):
        PreparedWriter(tmp_path / "p", [FieldSpec("t", "table")])
    with pytest.raises(ValueError, match="fractions"):
        PreparedWriter(tmp_path / "p", [FieldSpec("a", "text")], validation=0.7, test=0.7)
    with pytest.raises(ValueError, match=r"unknown key 'nots'.*did you mean 'notes'"):
        write(tmp_path / "p", [Study("a", "1", {"nots": "x"})])
    with pytest.raises(ValueError, match=r"unknown key 'agee'.*did you mean 'age'"):
        write(tmp_path / "p", [Study("a", "1", {"row": {"agee": 3}})])
    with pytest.raises(ValueError, match="column 'load' has no value"):
        write(tmp_path / "p", [Study("a", "1", {"row": {"age": 3}})], validation=0, test=0)
    assert list(tmp_path.iterdir()) == []


SECTIONS = {
    "a": {"report_findings": "Heart is large.", "report_impression": "Cardiomegaly."},
    "b": {"report_findings": "Clear."},
    "c": {"report_findings": "Stable.", "report_impression": "Stable."},
    "d": {"report": "Read as a whole."},
}


@pytest.fixture
def sections(tmp_path):
    fields = [FieldSpec(name, "text") for name in ("report", *SECTIONS["a"])]
    with PreparedWriter(tmp_path / "out", fields, find_duplicates=False) as writer:
        for study, values in SECTIONS.items():
            writer.add(Study(study, study, values), split="train")
    return tmp_path / "out"


def test_findings_and_impression_are_read_joined(sections):
    data = PreparedDataset.load(sections, "train", ["report_both", "report"])
    read = {study.study_id: study.values for study in data}
    assert read == {
        "a": {"report_both": "Heart is large. Cardiomegaly."},
        "b": {"report_both": "Clear."},
        "c": {"report_both": "Stable."},
        "d": {"report": "Read as a whole."},
    }
    assert data.present.tolist() == [["report_both" in v, "report" in v] for v in read.values()]
    assert len(data.having("report_both")) == 3


def test_what_is_joined_is_read_only_where_it_is_asked_for(sections):
    stored = PreparedDataset.load(sections, "train")
    assert stored.names == ["report", "report_findings", "report_impression"]
    also = PreparedDataset.load(sections, "train", also=["report_both", "nothing"])
    assert also.names == [*stored.names, "report_both"]
    with pytest.raises(ValueError, match=r"unknown key 'report_bot'.*did you mean 'report_both'"):
        PreparedDataset.load(sections, "train", ["report_bot"])


def test_a_field_of_that_name_is_itself(tmp_path):
    fields = [FieldSpec(name, "text") for name in ("report_both", *SECTIONS["a"])]
    with PreparedWriter(tmp_path / "out", fields, find_duplicates=False) as writer:
        writer.add(Study("a", "a", SECTIONS["a"] | {"report_both": "Own."}), split="train")
    (study,) = PreparedDataset.load(tmp_path / "out", "train", ["report_both"])
    assert study.values == {"report_both": "Own."}
