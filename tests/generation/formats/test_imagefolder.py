"""Format `imagefolder`: `datasets.load_dataset` reads it without code of ours, its Croissant file
is a valid one."""

import json
import logging

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from tests.generation.studies import make_format, phantom_family, phantom_studies, phantom_values

SIZE = 32


@pytest.fixture(scope="module")
def values():
    values = phantom_values(4, SIZE)
    values[1]["report"] = " "  # what a decoder may leave blank
    values[2]["tabular"] = values[2]["tabular"] | dict.fromkeys(["heart_rate", "age_splits"])
    return values


@pytest.fixture(scope="module")
def family(values):
    return phantom_family(phantom_values(4, SIZE), SIZE)


@pytest.fixture(scope="module")
def folder(values, family, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagefolder")
    writer = make_format("imagefolder", family)
    samples = []
    for i, study in enumerate(phantom_studies(family, values)):
        parent = f"data/part_{i // 2:05d}"
        (folder / parent).mkdir(parents=True, exist_ok=True)
        written = writer.write(study, folder, parent)
        assert written.left_out == ({"report": "the generated text is empty"} if i == 1 else {})
        samples.append(
            {"id": study.stem, "row": json.loads(json.dumps(written.row))}
        )  # as the ledger keeps it
    assert set(writer.finish(folder, samples)) == {"metadata", "card", "croissant"}
    (folder / "manifest.json").write_text("{}")
    return folder


def test_load_dataset(folder, values, family, tmp_path):
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    assert list(loaded) == ["train"] and loaded["train"].num_rows == 4
    schema = family.modality("tabular").schema
    for row, stored in zip(loaded["train"], values, strict=True):
        for name in ("frontal", "lateral"):
            pixels = np.asarray(row[name], np.float64)
            assert np.abs(pixels / 65535 - stored[name]).max() <= 0.5 / 65535 + 1e-9
        assert row["report"] == (stored["report"] if stored["report"].strip() else None)
        for column in schema.columns:
            cell = stored["tabular"].get(column.name)
            assert row[f"tabular_{column.name}"] == (
                cell if cell is None or not column.is_discrete else str(cell)
            )
    assert [row["study_id"] for row in loaded["train"]] == [f"sample_{i:05d}" for i in range(4)]


def test_types_do_not_depend_on_the_rows(folder, values, family, tmp_path):
    writer = make_format("imagefolder", family)
    assert pq.read_schema(folder / "data" / "metadata.parquet").equals(writer.schema)
    (tmp_path / "data").mkdir()
    empty = values[0] | {"tabular": dict.fromkeys(values[0]["tabular"]), "report": " "}
    (study,) = phantom_studies(family, [values[0]])
    study.stored = empty
    writer.finish(tmp_path, [{"row": writer.write(study, tmp_path, "data").row}])
    assert pq.read_schema(tmp_path / "data" / "metadata.parquet").equals(writer.schema)


def test_card(folder):
    text = (folder / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["tags"][0] == "synthetic"
    assert yaml.safe_load(head)["size_categories"] == ["n<1K"]
    for told in (
        "Not for clinical use",
        "0123456789abcdef",
        "| `frontal` | picture |",
        "| `tabular_heart_rate` |",
    ):
        assert told in body
    assert "{" not in body.replace('{"guidance_scale": null, "num_inference_steps": 2}', "")


def test_croissant(folder, values, caplog):
    mlcroissant = pytest.importorskip(
        "mlcroissant", reason="mlcroissant is not installed: pip install 'medcodi[test]'"
    )
    with caplog.at_level(logging.WARNING):
        described = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not described.metadata.ctx.issues.errors, described.metadata.ctx.issues.report()
    assert not described.metadata.ctx.issues.warnings, described.metadata.ctx.issues.report()
    rows = list(described.records("studies"))
    assert [row["studies/study_id"].decode() for row in rows] == [
        f"sample_{i:05d}" for i in range(4)
    ]
    assert rows[0]["studies/report"].decode() == values[0]["report"]
    pictures = [record["lateral/picture"] for record in described.records("lateral")]
    assert len(pictures) == 4 and {p.size for p in pictures} == {(SIZE, SIZE)}
    assert "not standard" not in caplog.text


def test_croissant_check_can_fail(folder, tmp_path):
    mlcroissant = pytest.importorskip(
        "mlcroissant", reason="mlcroissant is not installed: pip install 'medcodi[test]'"
    )
    described = json.loads((folder / "croissant.json").read_text())
    described["recordSet"][0]["field"][0]["source"]["fileObject"]["@id"] = "nowhere"
    (tmp_path / "croissant.json").write_text(json.dumps(described))
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=str(tmp_path / "croissant.json"))
