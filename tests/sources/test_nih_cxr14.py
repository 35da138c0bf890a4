"""Source `nih_cxr14` on made-up miniatures of the release and of a part of it."""

import csv
import subprocess
import sys

import pytest

from medcodi.data.prepared import PreparedDataset
from medcodi.data.study import SPLITS
from medcodi.sources import get_source
from tests.sources.nih_release import write_release

OPTIONS = {"front": "frontal", "table": "tabular", "size": 32}


@pytest.fixture
def source(tmp_path):
    return write_release(tmp_path / "source")


def prepare(source, out, **options):
    counts = get_source("nih_cxr14")(source, {**OPTIONS, **options}, out, num_workers=1)
    found = [study for split in SPLITS for study in PreparedDataset.load(out, split)]
    return counts, {study.study_id: study for study in found}


def test_the_release(source, tmp_path):
    counts, found = prepare(source, tmp_path / "out")
    assert sorted(found) == ["00000001_000", "00000001_001", "00000002_000", "00000003_000"]
    assert counts["files"] == 7 == counts["images"] + counts["rejected files"]
    assert counts["rows without an image that can be used"] == 3
    first = found["00000001_000"]
    assert first.patient_id == found["00000001_001"].patient_id == "1"
    row = first.values["tabular"]
    assert (row["age"], row["sex"], row["projection"]) == (58, "M", "PA")
    assert {name for name, cell in row.items() if cell == "yes"} == {"Cardiomegaly", "Edema"}
    second = found["00000001_001"].values["tabular"]
    assert (second["age"], second["projection"], second["No_Finding"]) == (59, "AP", "yes")
    assert second["Hernia"] == "no"
    assert found["00000002_000"].values["tabular"]["age"] is None  # 412 years
    assert found["00000003_000"].values["tabular"]["sex"] is None
    rejects = {
        r["item"]: r["reason"] for r in csv.DictReader((tmp_path / "out/rejects.csv").open())
    }
    reasons = " ".join(rejects.values())
    for told in (
        "unknown labels: Lung Cancer",
        "neither AP nor PA",
        "no row for this image",
        "412",
    ):
        assert told in reasons


def test_films_get_their_shape_back(source, tmp_path):
    _, found = prepare(source, tmp_path / "out")
    wide = found["00000001_001"].values["frontal"] > 0.2  # 2500 x 2000
    high = found["00000002_000"].values["frontal"] > 0.2
    rows, columns = (wide.any(axis=axis).sum() for axis in (1, 0))
    assert columns == 32 and 25 <= rows <= 27
    rows, columns = (high.any(axis=axis).sum() for axis in (1, 0))
    assert rows == 32 and 25 <= columns <= 27


def test_the_part_has_other_names_and_gives_the_same(source, tmp_path):
    _, expected = prepare(source, tmp_path / "out")
    table = (source / "Data_Entry_2017.csv").read_text().splitlines()[1:]
    (source / "Data_Entry_2017.csv").unlink()
    columns = "image,study_id,patient_id,follow_up,view,projection,sex,age,labels"
    lines = [f"{columns},dicom_width,dicom_height"]
    for row in csv.reader(table):
        name, labels, follow, patient, age, sex, view, width, height = row[:9]
        start = [f"images/{name}", name[:-4], patient, follow, "frontal"]
        lines.append(",".join([*start, view, sex, age, labels, width, height]))
    (source / "metadata.csv").write_text("\n".join(lines) + "\n")
    _, found = prepare(source, tmp_path / "part")
    assert {k: s.values["tabular"] for k, s in found.items()} == {
        k: s.values["tabular"] for k, s in expected.items()
    }


def test_the_look_acts(source, tmp_path):
    _, plain = prepare(source, tmp_path / "plain")
    _, stretched = prepare(source, tmp_path / "stretched", look="min_max")
    at = (slice(10, 20), slice(10, 20))
    first, other = (found["00000003_000"].values["frontal"][at] for found in (plain, stretched))
    assert first.min() > 0.35 and other.min() < first.min() - 0.1


def test_wrong_input(source, tmp_path):
    with pytest.raises(ValueError, match="the table needs a name of its own"):
        prepare(source, tmp_path / "out", table="frontal")
    (source / "metadata.csv").write_text("image\n")
    with pytest.raises(ValueError, match="expected one table"):
        prepare(source, tmp_path / "out")
    (source / "Data_Entry_2017.csv").unlink()
    with pytest.raises(ValueError, match="columns of"):
        prepare(source, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        prepare(source / "none", tmp_path / "out")


KILLED = """
import os, sys
from medcodi.sources import get_source
from medcodi.sources.archive.state import State

source, out, finished = sys.argv[1], sys.argv[2], int(sys.argv[3])
add, seen = State.add, []

def stop(self, *values):
    if len(seen) == finished:
        os._exit(9)
    seen.append(values)
    add(self, *values)

if __name__ == "__main__":
    State.add = stop
    options = {"front": "frontal", "table": "tabular", "size": 32}
    get_source("nih_cxr14")(source, options, out, num_workers=1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("finished", [0, 5])
def test_a_kill_loses_and_doubles_nothing(source, tmp_path, finished):
    """Killed after some files: the same call again gives what an uninterrupted one gives."""
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    command = [sys.executable, script, source, tmp_path / "out", finished]
    assert subprocess.run([*map(str, command)], check=False).returncode == 9
    assert not (tmp_path / "out").exists()
    counts, found = prepare(source, tmp_path / "out")
    assert counts["files"] == 7 == counts["images"] + counts["rejected files"]
    _, expected = prepare(source, tmp_path / "whole")
    assert found.keys() == expected.keys()
    for name, study in found.items():
        assert study.values["tabular"] == expected[name].values["tabular"]
        assert (study.values["frontal"] == expected[name].values["frontal"]).all()
