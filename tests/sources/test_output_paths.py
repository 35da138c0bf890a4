"""Output that cannot be written: one line on stderr, exit code 1, nothing left behind."""

import os
import resource
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcodi.cli import app as cli
from medcodi.config_io import load_yaml
from medcodi.sources import get_source
from medcodi.sources.archive.state import State
from tests.sources.dicom_files import image, save


@pytest.fixture
def source(tmp_path):
    for number in range(3):
        save(image(study=f"s{number}", patient=f"p{number}"), tmp_path / "source" / f"{number}.dcm")
    return tmp_path / "source"


def run(monkeypatch, capfd, *arguments) -> list[str]:
    """The lines that the command leaves on stderr."""
    monkeypatch.setattr("sys.argv", ["medcodi", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]


@pytest.mark.parametrize("where", ["a file/out", "/proc/medcodi/out", "x" * 300])
def test_impossible_paths(source, tmp_path, monkeypatch, capfd, where):
    (tmp_path / "a file").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    (line,) = run(monkeypatch, capfd, "prepare", "dicom", source, "--output", where)
    assert where.split("/")[0][:60] in line or "proc" in line


def test_a_file_system_that_takes_no_more(source, tmp_path, monkeypatch, capfd):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        lines = run(monkeypatch, capfd, "prepare", "dicom", source, "--output", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(lines) == 1 and "state.sqlite" in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_state_that_is_no_database(source, tmp_path, monkeypatch, capfd):
    (tmp_path / "out.private").mkdir()
    (tmp_path / "out.private" / "state.sqlite").write_bytes(b"something else " * 100)
    (line,) = run(monkeypatch, capfd, "prepare", "dicom", source, "--output", tmp_path / "out")
    assert "not a database" in line and "Remove it" in line


def test_errors_of_the_database_become_those_of_its_file(tmp_path):
    told = r"state\.sqlite: disk I/O error"
    with pytest.raises(OSError, match=told), State.opened(tmp_path, "f"):
        raise sqlite3.OperationalError("disk I/O error")


COMMANDS = {
    "table": ("prepare", "table", "rows.csv", "--output"),
    "folder": ("prepare", "folder", "films", "--mapping", "mapping.yaml", "--output"),
    "fit": ("table", "fit", "rows.csv", "--output"),
    "label": ("label", "reports.csv", "--vocabulary", "chexpert", "--output"),
    "merge": ("data", "merge", "one=good", "two=good", "--output"),
    "show": ("data", "show", "good", "--page"),
}


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """What the commands read, in the working folder."""
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{30 + n * 7 % 50},{'FM'[n % 2]}\n" for n in range(400))
    Path("rows.csv").write_text(f"age,sex\n{rows}")
    reports = "".join(f"{n},No effusion. Edema {n}.\n" for n in range(600))
    Path("reports.csv").write_text(f"id,text\n{reports}")
    Path("films").mkdir()
    grey = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    Image.fromarray(grey).save("films/a.png")
    Path("films/films.csv").write_text("patient,file\np,a.png\n")
    Path("mapping.yaml").write_text(
        "csv: films.csv\npatient_id: patient\nstudy_id: [patient]\n"
        "images: {frontal: {path_column: file}}\n"
    )
    mapping = load_yaml("mapping.yaml")
    get_source("folder")("films", mapping, "good", 0.0, 0.0)
    Path("a file").write_text("no folder")
    return set(os.listdir())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("where", ["a file/out", "/proc/medcodi/out", "x" * 300])
def test_every_command_answers_an_impossible_path_in_one_line(
    inputs, monkeypatch, capfd, command, where
):
    assert len(run(monkeypatch, capfd, *COMMANDS[command], where)) == 1
    assert set(os.listdir()) == inputs


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_answers_a_full_disk_in_one_line(inputs, monkeypatch, capfd, command):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        lines = run(monkeypatch, capfd, *COMMANDS[command], "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(lines) == 1 and "too large" in lines[0]
    assert set(os.listdir()) == inputs
