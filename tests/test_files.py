"""Files and folders are whole or not there."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from medcodi.files import jsonable, staged, write_text, written


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "figures.json"
    with written(path) as temporary:
        temporary.write_text("one")
        assert not path.exists() and temporary.suffix == ".json"
    assert path.read_text() == "one" and names(path.parent) == ["figures.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="boom"), written(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("boom")
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_folder_appears_when_it_is_whole(tmp_path, durable):
    folder = tmp_path / "model"
    with staged(folder, durable=durable) as temporary:
        (temporary / "a").write_text("1")
        assert not folder.exists()
    with pytest.raises(ValueError, match="exists already"), staged(folder):
        pass
    with staged(folder, overwrite=True, durable=durable) as temporary:
        (temporary / "b").write_text("2")
        assert names(folder) == ["a"]
    assert names(folder) == ["b"] and names(tmp_path) == ["model"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    folder = tmp_path / "model"
    with staged(folder) as temporary:
        (temporary / "a").write_text("1")
    with pytest.raises(RuntimeError, match="boom"), staged(folder, overwrite=True):
        raise RuntimeError("boom")
    assert names(folder) == ["a"] and names(tmp_path) == ["model"]


def test_the_old_folder_comes_back_when_the_rename_fails(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    with staged(folder) as temporary:
        (temporary / "a").write_text("1")

    def fail_on_the_new_folder(source, target):
        if target == folder and source == new:
            raise OSError(28, "No space left on device")
        os.rename(source, target)

    with pytest.raises(OSError, match="No space left"), staged(folder, overwrite=True) as new:
        monkeypatch.setattr("medcodi.files.os.replace", fail_on_the_new_folder)
    assert names(folder) == ["a"] and names(tmp_path) == ["model"]


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    """Also for names that look like patterns; what belongs to a running process stays."""
    path = tmp_path / "a[1].txt"
    source = (
        "import os, sys\nfrom medcodi.files import staged, written\n"
        "with staged(sys.argv[1] + '.d') as d, written(sys.argv[1]) as t:\n"
        "    t.write_text('half'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", source, str(path)], check=False)
    assert len(names(tmp_path)) == 2
    with written(tmp_path / "a[1].txt.d") as other, written(path) as temporary:
        other.write_text("x")
        temporary.write_text("whole")
    assert names(tmp_path) == ["a[1].txt", "a[1].txt.d"]
    stranger = tmp_path / temporary.name.replace(str(os.getpid()), str(os.getppid()))
    stranger.write_text("theirs")
    with written(path) as temporary:
        temporary.write_text("again")
    assert stranger.exists()


def test_jsonable():
    value = {
        1: (np.float32(0.5), float("nan"), float("inf")),
        "t": torch.ones(2),
        "a": np.arange(2),
    }
    plain = {"1": [0.5, None, None], "t": [1.0, 1.0], "a": [0, 1]}
    assert jsonable(value) == plain
    assert json.loads(json.dumps(jsonable(value), allow_nan=False)) == plain


def test_a_device_a_pipe_and_a_folder_are_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    for path in ("pipe", "folder", ""):
        with pytest.raises(ValueError, match="name a file"):
            write_text(tmp_path / path, "text")
    for path in ("pipe", "file"):
        with (
            pytest.raises(ValueError, match="is no folder"),
            staged(tmp_path / path, overwrite=True),
        ):
            pass
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "file").read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "folder", "file"}
