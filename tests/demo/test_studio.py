"""What the demo does, without its page: prompts, generation, neighbours, downloads."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from medcodi.data.prepared import PreparedDataset
from medcodi.demo.studies import HeldOut, Phantoms, TrainingBank
from medcodi.demo.studio import MAX_TEXT, Given, Studio, windowed


@pytest.fixture
def studio(tiny_pipeline, tiny_prepared):
    modalities = [tiny_pipeline.family.modality(name) for name in tiny_pipeline.modalities]
    bank = TrainingBank(tiny_prepared, modalities)
    bank.wait()
    return Studio(tiny_pipeline, HeldOut(tiny_prepared, tiny_pipeline.modalities), bank)


def test_drawn_studies_are_held_out(studio, tiny_prepared):
    train = PreparedDataset.load(tiny_prepared, "train")
    seen = {study.study_id for study in train.batch(range(len(train)))}
    origins = {one.origin for number in range(5) for one in studio.draw(number).values()}
    assert origins
    assert not {o.removeprefix("held-out study ") for o in origins} & seen
    assert all(one.value is not None for one in studio.draw(3).values())


def test_a_sample_tells_what_it_is_and_repeats(studio):
    given = {"report": studio.read_text("report", "Large left effusion.")}
    one, two = (
        studio.generate(given, ["frontal", "tabular"], 7, num_inference_steps=2) for _ in range(2)
    )
    np.testing.assert_array_equal(one.stored["frontal"], two.stored["frontal"])
    other = studio.generate(given, ["frontal"], 8, num_inference_steps=2)
    assert not np.array_equal(one.stored["frontal"], other.stored["frontal"])
    assert studio.origins(one) == [
        ["report", "given: typed"],
        ["frontal", "SYNTHETIC (seed 7, 2 steps)"],
        ["tabular", "SYNTHETIC (seed 7, 2 steps)"],
    ]
    (row,) = studio.nearest(one)  # of the picture: a row has no neighbour here
    assert row[0] == "frontal" and float(row[2]) > 0 and float(row[3]) > 0


def test_a_part_is_kept(studio):
    picture = studio.draw(0)["frontal"]
    mask = np.zeros((16, 16), bool)
    mask[:8] = True
    kept = {"frontal": Given((picture.value, mask), picture.origin)}
    sample = studio.generate({}, [], 5, 2, kept=kept)
    np.testing.assert_array_equal(sample.stored["frontal"][8:], picture.value[8:])
    assert not np.array_equal(sample.stored["frontal"][:8], picture.value[:8])
    ((name, told),) = studio.origins(sample)
    assert name == "frontal" and told.startswith("SYNTHETIC") and "kept part: held-out" in told


def test_a_training_picture_is_its_own_neighbour(studio, tiny_prepared):
    train = PreparedDataset.load(tiny_prepared, "train")
    study = next(s for s in train.batch(range(len(train))) if "report" in s.values)
    found = {n.name: n for n in studio.bank.find(study.values)}
    assert found["frontal"].study_id == study.study_id
    assert found["frontal"].distance == pytest.approx(0, abs=1e-3)
    assert found["report"].distance == pytest.approx(0, abs=1e-6)
    assert found["frontal"].usual > 0.01


def test_prompts_are_read_and_bad_ones_named(studio, tmp_path):
    assert studio.read_text("report", "  ") is None
    with pytest.raises(ValueError, match=r"report: a text of 4,001 characters, at most 4,000"):
        studio.read_text("report", "x" * (MAX_TEXT + 1))
    rows = studio.cells("tabular", None)
    assert studio.read_row("tabular", rows) is None
    rows = [[name, "70" if name == "heart_rate" else ""] for name, _ in rows]
    assert studio.read_row("tabular", rows).value == {"heart_rate": 70}
    with pytest.raises(ValueError, match="column 'heart_rate'"):
        studio.read_row("tabular", [["heart_rate", "fast"]])
    Image.new("L", (40, 30), 128).save(tmp_path / "a.png")
    picture = studio.read_picture("frontal", tmp_path / "a.png", "a.png").value
    assert picture.shape == (16, 16) and picture.max() == pytest.approx(128 / 255, abs=0.01)
    (tmp_path / "secret.png").write_text("no image")
    with pytest.raises(ValueError, match=r"x\.png: the file is not a readable image") as error:
        studio.read_picture("frontal", tmp_path / "secret.png", "x.png")
    assert str(tmp_path) not in str(error.value)


def test_bad_calls_are_named(studio, tiny_pipeline):
    given = studio.draw(0)
    with pytest.raises(ValueError, match="choose at least one output"):
        studio.generate({}, [], 0)
    with pytest.raises(ValueError, match="frontal is a prompt and an output"):
        studio.generate({"frontal": given["frontal"]}, ["frontal"], 0)
    for seed, steps in ((-1, 2), (0.5, 2), (0, 0), (0, 101), (None, 2)):
        with pytest.raises(ValueError, match="expected a whole number up to"):
            studio.generate({}, ["frontal"], seed, steps)
    with pytest.raises(ValueError, match="no held-out studies: start with --studies"):
        Studio(tiny_pipeline).draw(0)


@pytest.mark.parametrize("kind, ending", [("files", ".png"), ("DICOM", ".dcm")])
def test_a_package_holds_the_outputs_and_says_synthetic(studio, tmp_path, kind, ending):
    given = studio.draw(0)
    prompts = {"report": studio.read_text("report", "Secret words.")}
    sample = studio.generate(prompts, ["frontal", "tabular"], 3, 2)
    with zipfile.ZipFile(io.BytesIO(studio.package(sample, kind, tmp_path))) as archive:
        names = archive.namelist()
        assert any(name.endswith(ending) for name in names)
        assert b"Not for clinical use" in archive.read("README.txt")
        told = json.loads(archive.read("sample.json"))
        assert told["synthetic"] is True and told["seed"] == 3
        assert not any(b"Secret words" in archive.read(name) for name in names)
    assert list(tmp_path.iterdir()) == []
    assert given


def test_a_window():
    greys = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    whole = np.asarray(windowed(greys, 0.5, 1.0))
    assert whole.shape == (512, 512)
    assert whole[0, 0] < 3 and whole[-1, -1] > 252
    narrow = np.asarray(windowed(greys, 0.5, 0.1))
    assert (narrow == 0).mean() > 0.3 and (narrow == 255).mean() > 0.3
    with pytest.raises(ValueError, match="width of a window must be positive"):
        windowed(greys, 0.5, 0)


def test_fresh_phantoms_can_be_drawn():
    studies = Phantoms(16, ["frontal", "report"])
    study = studies.draw(4)
    assert study.values["frontal"].shape == (16, 16)
    assert set(study.values) <= {"frontal", "report"}
    np.testing.assert_array_equal(studies.draw(4).values["frontal"], study.values["frontal"])
