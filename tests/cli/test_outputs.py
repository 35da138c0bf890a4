"""Every option of the whole command tree that names an output: one that cannot be written is
refused before the work begins, in one line, and nothing is left behind."""

import os
from pathlib import Path

import pytest
import typer

from medcodi.cli import main
from medcodi.cli.app import app
from medcodi.cli.evaluate import BENCHES
from medcodi.cli.options import writes_file, writes_folder

NO_OUTPUT = {"memory", "prepare_memory"}  # benchmarks that print only
NEEDED = {"filter": ["--filter"], "privacy_curve": ["--public", "--public-data"]}  # of a benchmark


def commands(group=None, path=()):
    """(words, command) of every command below `group`."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def outputs():
    """(name, words with what else the command requires, flag, what is written)."""
    for words, command in commands():
        for option in command.params:
            check = getattr(option.callback, "__wrapped__", None)
            if check in (writes_file, writes_folder):
                call = [*words, *required(command, option)]
                yield (
                    " ".join([*words, option.opts[0]]),
                    call,
                    option.opts[0],
                    check is writes_file,
                )
    for bench in sorted(set(BENCHES) - NO_OUTPUT):
        more = [word for flag in NEEDED.get(bench, []) for word in (flag, "1")]
        yield f"bench {bench} --output", ["bench", bench, *more], "--output", False


def required(command, option):
    """Values that can be read for all else that the command cannot do without."""
    words = []
    for other in command.params:
        if other.required and other is not option:
            flag = other.opts[0]
            words += ["1"] if not flag.startswith("-") else [flag, "1"]
    return words


OUTPUTS = {name: rest for name, *rest in outputs()}


def refused(capfd, arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert stop.value.code == 1
    told = capfd.readouterr().err
    lines = [line for line in told.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "Traceback" not in told
    return lines[0]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a file").write_text("no folder")
    Path("a folder").mkdir()
    os.mkfifo("a pipe")
    Path("a link").symlink_to("nowhere")
    before = set(os.listdir())
    yield
    assert set(os.listdir()) == before and not os.listdir("a folder")
    assert Path("a file").read_text() == "no folder" and Path("a link").is_symlink()


def test_every_output_of_the_tree_is_looked_at():
    """Every option of that name, and every one whose help says that something is written."""
    for words, command in commands():
        for option in command.params:
            says = (getattr(option, "help", None) or "").split()
            if option.name in ("output", "private_dir") or "write" in says:
                assert f"{' '.join(words)} {option.opts[0]}" in OUTPUTS
    assert len(OUTPUTS) > 40


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize(
    "where", ["a file/out", "/proc/medcodi/out", "/dev/null", "/dev/null/out", "a pipe", "x" * 300]
)
def test_a_place_that_takes_nothing_is_refused(name, where, capfd):
    words, flag, _ = OUTPUTS[name]
    line = refused(capfd, [*words, flag, where])
    assert where[:60] in line


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_folder_is_no_file_and_a_file_no_folder(name, capfd):
    words, flag, is_file = OUTPUTS[name]
    where, told = ("a folder", "is a folder: name a file") if is_file else ("a file", "no folder")
    line = refused(capfd, [*words, flag, where])
    assert f"output {where}" in line and told in line
