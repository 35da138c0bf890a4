"""Output that cannot be written: one line on stderr, exit code 1, nothing left behind."""

import resource
import sqlite3

import pytest

from medcodi.cli import app as cli
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
