"""README and docs/ are true: links lead somewhere, paths exist, every command is one, and those
that need no data of a reader's own run."""

import ast
import re
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.labeler.files import COLUMNS
from tests.pages import (
    PAGES,
    README,
    ROOT,
    blocks,
    commands,
    medcodi_words,
    name_of,
    with_replaced,
)

PATH = re.compile(r"`((?:medcodi|configs|train|eval|scripts|tests|docs)/[\w./-]*)`")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and MkDocs make of headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_and_paths_exist(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target
        if page.is_relative_to(ROOT / "docs"):  # the site has nothing else
            assert file.is_relative_to(ROOT / "docs"), target
    if page.parent.name != "results":  # measurements say what was there when they were made
        for path in PATH.findall(text):
            assert (ROOT / path).exists(), path


def parse(arguments: list[str]) -> None:
    """Read the options of a command of medcodi, without running it; typer's error where it has no
    such option or lacks one that it needs."""
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands"):
        if arguments[:1] and arguments[0] not in command.commands and hasattr(command, "default"):
            arguments = [command.default, *arguments]
        assert arguments and arguments[0] in command.commands, arguments
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if "--help" not in arguments:
        command.make_context(command.name, list(arguments), parent=context)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.parent.name != "results" and commands(p)], ids=name_of
)
def test_every_command_is_one(page):
    """Its program, its options and the files of the repository that it names exist."""
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands(page):
        for word in words:
            if re.match(r"(configs|train|eval|scripts|tests)/", word):
                assert (ROOT / word).exists(), word
        arguments = medcodi_words(words)
        if arguments is not None:
            parse(arguments)
        elif words[0] == "make":
            assert words[1] in targets, words
        else:
            assert words[0] in ("pip", "python", "git", "cd"), words


def test_the_tests_of_ci_are_those_of_the_readme():
    assert {"quickstart", "test"} <= {w[1] for w in commands(README) if w[0] == "make"}
    ci = (ROOT / ".ci" / "run").read_text()
    assert ci.index("make check") < ci.index("make test")


def test_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (source,) = blocks(README, "python")
    assert ast.parse(source)
    exec(compile(source, "README.md", "exec"), {})
    assert (tmp_path / "frontal.png").is_file()


@pytest.mark.parametrize(
    "name", ["python", "generate", pytest.param("parts", marks=pytest.mark.slow)]
)
def test_python_of_the_guide_prints_what_the_page_says(name, tmp_path, monkeypatch, capsys):
    """The blocks in their order, each with the text block behind it as its output."""
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "guide" / f"{name}.md").read_text()
    page = re.sub(r"num_inference_steps=25", "num_inference_steps=2", page)
    names: dict = {}
    found = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", page, re.DOTALL)
    assert len(found) == page.count("```python")
    for source, told in found:
        exec(compile(source, f"{name}.md", "exec"), names)
        printed = capsys.readouterr().out
        assert printed == told, source


def run_page(name: str, command: str, replaced: dict[str, str]) -> list[str]:
    """Run the commands of a page that begin with `command`; their outputs."""
    told = []
    for words in commands(ROOT / name):
        if words[: len(command.split())] == command.split() and "--help" not in words:
            result = CliRunner().invoke(app, with_replaced(words, replaced)[1:])
            assert result.exit_code == 0, (words, result.output, result.exception)
            told.append(result.output)
    return told


@pytest.mark.parametrize("page", ["README.md", "docs/guide/generate.md"])
def test_generate_commands_run_on_a_pipeline(tiny_run, tmp_path, monkeypatch, page):
    monkeypatch.chdir(tmp_path)
    replaced = {
        "--pipeline phantom": str(tiny_run.run_dir / "pipeline"),
        "data/phantoms": tiny_run.data.prepared,
    }
    told = run_page(page, "medcodi generate", replaced)
    assert "4 samples of frontal, tabular in samples" in told[0]
    assert (tmp_path / "samples" / "manifest.json").is_file()


def test_train_and_evaluate_commands_run_on_a_finished_run(tiny_run, tmp_path, monkeypatch):
    """The first command of the pages, on a tiny recipe; what they print is what the pages show."""
    from tests.tiny import write_recipe

    monkeypatch.chdir(tmp_path)
    recipe = str(write_recipe(tiny_run, tmp_path / "tiny.yaml"))
    run_page(
        "docs/guide/train.md",
        "medcodi train autoencoder --config phantom_tiny",
        {"phantom_tiny": recipe},
    )
    page = "docs/guide/evaluate.md"
    told = run_page(page, "medcodi evaluate --config", {"phantom_tiny": recipe})
    assert '"T1": {"status": "done"' in told[0]


def test_label_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports.csv").write_text(",".join(COLUMNS) + "\n1,No pneumothorax.\n")
    told = run_page("docs/guide/label-reports.md", "medcodi label reports.csv", {})
    assert told and "Pneumothorax" in told[0]


def test_says_that_it_is_not_for_clinical_use():
    assert "Not for clinical use" in README.read_text()


def test_readme_is_short():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1600


def reading_list(title: str, end: str) -> list[str]:
    """The files that architecture.md names in one of its reading lists, before `end`."""
    text = (ROOT / "docs" / "architecture.md").read_text().partition(f"**{title}")[2]
    return re.findall(r"`(?:[\w./]*/)?(\w+\.py)`", text.partition(end)[0])


def test_reading_lists_are_as_long_as_they_say():
    assert len(reading_list("A training step of stage 2, 15 files", "An image adds")) == 15
    assert len(reading_list("One joint sampling call, 8 files", "What surrounds it")) == 8


def test_a_step_of_stage_2_runs_through_its_reading_list(tiny_run, tmp_path, monkeypatch):
    """What else runs is small and says its own name."""
    from medcodi.training import loop
    from medcodi.training.tasks import train_stage
    from tests.tiny import copy_run

    helpers = {"base.py", "embedding.py", "rows.py", "seeding.py", "transfer.py", "prompt_mean.py"}
    ran: set[str] = set()
    step = loop.optimizer_step

    def traced(*arguments):
        def note(frame, event, _):
            path = Path(frame.f_code.co_filename)
            if event == "call" and path.is_relative_to(ROOT / "medcodi"):
                ran.add(path.name)

        sys.setprofile(note)
        try:
            return step(*arguments)
        finally:
            sys.setprofile(None)

    monkeypatch.setattr(loop, "optimizer_step", traced)
    recipe = copy_run(tiny_run, tmp_path, without=("stage2",))
    recipe.stage2.modality = "report"
    train_stage(recipe, "stage2")
    told = set(reading_list("A training step of stage 2, 15 files", "An image adds"))
    assert "ldm.py" in ran and ran <= told | helpers
