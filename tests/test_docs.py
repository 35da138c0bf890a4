"""README and docs/ are true: links lead somewhere, paths exist, commands and code run."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medcodi.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
PATH = re.compile(r"`((?:medcodi|configs|train|eval|scripts|tests|docs)/[\w./-]*)`")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


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
    if page.parent.name != "results":  # measurements say what was there when they were made
        for path in PATH.findall(text):
            assert (ROOT / path).exists(), path


def test_make_targets_exist():
    targets = re.findall(r"^make (\w+)", "\n".join(blocks(README, "bash")), re.MULTILINE)
    assert {"quickstart", "test"} <= set(targets)
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_python_example_runs_on_a_pipeline(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (source,) = blocks(README, "python")
    source = source.replace("runs/phantom_tiny/pipeline", str(tiny_run.run_dir / "pipeline"))
    source = source.replace("num_inference_steps=25", "num_inference_steps=2")
    assert ast.parse(source)
    exec(compile(source, "README.md", "exec"), {})
    assert (tmp_path / "frontal.png").is_file()


def test_generate_command_runs_on_a_pipeline(tiny_run, tmp_path):
    (line,) = [b for b in blocks(README, "bash") if "medcodi generate" in b]
    words = shlex.split(line.replace("\\\n", " "), comments=True)[1:]
    words = [
        str(tiny_run.run_dir / "pipeline") if w == "runs/phantom_tiny/pipeline" else w
        for w in words
    ]
    words = [str(tmp_path / "samples") if w == "samples" else w for w in words]
    result = CliRunner().invoke(app, [*words, "--num-inference-steps", "2"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "samples" / "manifest.json").is_file()


def test_says_that_it_is_not_for_clinical_use():
    assert "Not for clinical use" in README.read_text()


def test_readme_is_short():
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1600
