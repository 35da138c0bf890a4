"""The same radiograph twice: found whatever its greys, size and frame, and kept to one split."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from medcodi.data.duplicates import MAX_GROUP, Fingerprints, Groups, fingerprint, likeness
from medcodi.data.prepared import PreparedDataset
from medcodi.data.storage import FieldSpec
from medcodi.data.study import SPLITS, Study, split_of
from medcodi.data.writer import PreparedWriter

SIDE = 96


def film(seed: int) -> np.ndarray:
    """Float (SIDE, SIDE): a made-up picture with detail at every scale, no two alike."""
    rng = np.random.default_rng(seed)
    total = np.zeros((SIDE, SIDE))
    for cells in (3, 6, 12, 24, 48):
        part = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
        total += np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / cells**0.5
    total -= total.min()
    return (0.1 + 0.8 * total / total.max()).astype(np.float32)


def as_bytes(image: np.ndarray) -> Image.Image:
    return Image.fromarray((image * 255).round().astype(np.uint8))


def jpeg(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    as_bytes(image).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer), np.float32) / 255


CHANGES = {
    "brighter": lambda image: image**0.6,
    "darker": lambda image: 0.05 + 0.4 * image,
    "inverted": lambda image: 1 - image,
    "equalised": lambda image: np.asarray(ImageOps.equalize(as_bytes(image)), np.float32) / 255,
    "jpeg": jpeg,
    "framed": lambda image: np.pad(image, 12),
    "white frame": lambda image: np.pad(image, 12, constant_values=1.0),
    "smaller": lambda image: np.asarray(
        Image.fromarray(image).resize((64, 64), Image.Resampling.BOX)
    ),
}


def matched(images: list[np.ndarray]) -> set[tuple[int, int]]:
    prints = Fingerprints()
    for position, image in enumerate(images):
        prints.add(position, fingerprint(image))
    pairs, left = prints.pairs(lambda position: images[position])
    assert left == 0
    return {(pair.first, pair.second) for pair in pairs}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_among_others(name):
    images = [film(seed) for seed in range(12)]
    assert matched(images) == set()
    assert matched([*images, CHANGES[name](images[5])]) == {(5, 12)}


def test_different_pictures_are_unlike():
    values = [likeness(film(a), film(b)) for a in range(6) for b in range(a)]
    assert max(values) < 0.5 and likeness(film(1), film(1)) == pytest.approx(1, abs=1e-6)


def test_images_without_detail_match_nothing():
    assert fingerprint(np.full((8, 8), 0.5)) == b""
    assert matched([np.zeros((8, 8)), np.zeros((8, 8))]) == set()


def test_more_copies_than_a_group_holds_are_all_linked():
    prints, groups = Fingerprints(), Groups()
    mark = fingerprint(film(0))
    for position in range(MAX_GROUP + 3):
        prints.add(position, mark)
    pairs, _ = prints.pairs(lambda position: film(0))
    for pair in pairs:
        groups.join(pair.first, pair.second)
    assert len(pairs) == MAX_GROUP + 2
    assert {groups.of(position) for position in range(MAX_GROUP + 3)} == {0}


def patient_of(split: str, start: int = 0) -> str:
    """A patient whose hash falls in `split`."""
    return next(f"p{n}" for n in range(start, start + 1000) if split_of(f"p{n}", 0.3, 0.3) == split)


def write(folder, studies, splits=None):
    fields = [FieldSpec("view", "image"), FieldSpec("notes", "text")]
    with PreparedWriter(folder, fields, validation=0.3, test=0.3) as writer:
        for study in studies:
            writer.add(study, (splits or {}).get(study.study_id))
    found = {
        study.study_id: (split, study)
        for split in SPLITS
        for study in PreparedDataset.load(folder, split)
    }
    rows = list(csv.DictReader((folder / "duplicates.csv").read_text().splitlines()))
    return found, rows, json.loads((folder / "prepared.json").read_text())


def test_copies_are_listed_and_kept_to_one_split(tmp_path):
    held, seen = patient_of("test"), patient_of("train")
    copied = film(7)
    studies = [
        *(Study(f"s{n}", f"p{n}", {"view": film(100 + n)}) for n in range(20)),
        Study("a", held, {"view": copied, "notes": "first"}),
        Study("b", seen, {"view": copied**0.7}),
        Study("c", seen, {"notes": "another study of the patient"}),
    ]
    found, rows, index = write(tmp_path / "out", studies)
    assert len(found) == len(studies)  # nothing lost, nothing doubled
    assert found["a"][0] == found["b"][0] == found["c"][0]
    theirs = {study.study_id for study in studies if study.patient_id in (held, seen)}
    assert {found[one][0] for one in theirs} == {split_of(min(held, seen), 0.3, 0.3)}
    (row,) = rows
    assert (row["study_id"], row["other_study_id"], row["patients"]) == ("a", "b", "two")
    assert float(row["likeness"]) > 0.8
    notes = index["notes"]["near-duplicates"]
    assert notes == {"pairs": 1, "pairs of two patients": 1, "patients moved to one split": 1}
    np.testing.assert_allclose(found["a"][1].values["view"], copied, atol=1e-4)
    assert found["a"][1].values["notes"] == "first"
    for split in SPLITS:
        told = index["splits"][split]
        assert told["studies"] == sum(one[0] == split for one in found.values())
        assert told["present"]["notes"] == sum(
            one[0] == split and "notes" in one[1].values for one in found.values()
        )


def test_splits_that_a_source_gives_stay_and_the_crossing_is_told(tmp_path):
    studies = [Study(name, name, {"view": film(1)}) for name in ("a", "b")]
    found, rows, index = write(tmp_path / "out", studies, {"a": "train", "b": "test"})
    assert (found["a"][0], found["b"][0]) == ("train", "test") and len(rows) == 1
    assert index["notes"]["near-duplicates"]["pairs across given splits"] == 1
