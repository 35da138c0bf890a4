"""Samples of another system: every damaged folder names the file that is at fault."""

import os

import numpy as np
import pytest
from PIL import Image

from medcodi.data.study import Study
from medcodi.evaluation.samples import read_samples

STUDIES = [Study(f"s{number}", f"p{number}", {}) for number in range(3)]
SIZE = 16


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "samples"
    (root / "view").mkdir(parents=True)
    for number, study in enumerate(STUDIES):
        grey = np.full((SIZE, SIZE), 60 * number, np.uint8)
        Image.fromarray(grey).save(root / "view" / f"{study.study_id}.png")
    (root / "notes.csv").write_text("id,text\ns0,a\ns1,b\ns2,c\nother,d\n")
    return root


def images(folder):
    return read_samples(folder, "view", "image", SIZE, STUDIES)


def texts(folder):
    return read_samples(folder, "notes", "text", 0, STUDIES)


def test_what_is_there(folder):
    np.testing.assert_allclose([image.mean() for image in images(folder)], [0, 60 / 255, 120 / 255])
    assert texts(folder) == ["a", "b", "c"]
    (folder / "view" / "s2.png").unlink()
    np.save(folder / "view" / "s2.npy", np.full((SIZE, SIZE), 0.5, np.float32))
    Image.new("L", (9, 9)).save(folder / "view" / "s2.jpg")  # another kind of file does not count
    assert images(folder)[2].mean() == 0.5
    Image.new("I;16", (2 * SIZE, SIZE), 65535).save(folder / "view" / "s1.png")
    assert images(folder)[1].max() == 1 and images(folder)[1][0].max() == 0  # padded, not cropped


def array(values):
    return lambda path: np.save(path.with_suffix(".npy"), values, allow_pickle=True)


def huge_header(path):
    """An array of 10^12 numbers, by its header alone."""
    with open(path.with_suffix(".npy"), "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)


def leave(path):
    (path.parents[2] / "secret.png").write_bytes((path.parent / "s0.png").read_bytes())
    path.symlink_to(path.parents[2] / "secret.png")


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no image"),
    "cut": lambda path: path.write_bytes((path.parent / "s0.png").read_bytes()[:45]),
    "folder": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "link out": leave,
    "link to nothing": lambda path: path.symlink_to("nothing.png"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "one line": lambda path: Image.new("L", (60000, 1)).save(path),
    "frames": lambda path: Image.new("L", (9, 9)).save(
        path, "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 9)]
    ),
    "empty array": lambda path: path.with_suffix(".npy").write_bytes(b""),
    "no array": lambda path: path.with_suffix(".npy").write_bytes(b"PK\3\4" + bytes(99)),
    "huge header": huge_header,
    "nan": array(np.full((SIZE, SIZE), np.nan, np.float32)),
    "outside": array(np.full((SIZE, SIZE), 2.0, np.float32)),
    "colour": array(np.zeros((SIZE, SIZE, 3), np.float32)),
    "size": array(np.zeros((9, 9), np.float32)),
    "objects": array(np.array([{}], object)),
    "complex": array(np.zeros((SIZE, SIZE), np.complex64)),
    "integers": array(np.zeros((SIZE, SIZE), np.int64)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_image_is_named(folder, name):
    path = folder / "view" / "s1.png"
    path.unlink()
    DAMAGE[name](path)
    with pytest.raises(ValueError, match=r"view/s1\.(png|npy)"):
        images(folder)


def test_two_samples_of_a_study_are_refused(folder):
    np.save(folder / "view" / "s1.npy", np.zeros((SIZE, SIZE), np.float32))
    with pytest.raises(ValueError, match=r"s1\.npy and .*s1\.png are both of the study 's1'"):
        images(folder)
    with (folder / "notes.csv").open("a") as file:
        file.write("other,x\ns2,x\n")
    with pytest.raises(ValueError, match=r"notes\.csv has the id 's2' more than once"):
        texts(folder)


def test_what_lacks_is_named(folder):
    (folder / "view" / "s2.png").unlink()
    with pytest.raises(ValueError, match="a view for 2 of 3 held-out studies; it lacks s2"):
        images(folder)
    (folder / "notes.csv").write_text("id,text\ns0,a\n")
    with pytest.raises(ValueError, match="it lacks s1, s2"):
        texts(folder)
    (folder / "notes.csv").write_bytes(b"id,text\ns0,\xff\n")
    with pytest.raises(ValueError, match=r"notes\.csv"):
        texts(folder)
    (folder / "notes.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no notes\.csv"):
        texts(folder)
    (folder.parent / "far.csv").write_text("id,text\ns0,a\ns1,b\ns2,c\n")
    (folder / "notes.csv").symlink_to(folder.parent / "far.csv")
    with pytest.raises(ValueError, match="lies outside"):
        texts(folder)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        images(folder / "none")
