"""The README's commands, links and code are true."""

import ast
import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from medcodi.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_links_and_paths_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for path in re.findall(r"`((?:medcodi|configs|train|eval|scripts|tests)/[\w./]*)`", TEXT):
        assert (ROOT / path).exists(), path


def test_make_targets_exist():
    targets = re.findall(r"^make (\w+)", "\n".join(blocks("bash")), re.MULTILINE)
    assert {"quickstart", "test"} <= set(targets)
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_python_example_runs_on_a_pipeline(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (source,) = blocks("python")
    source = source.replace("runs/phantom_tiny/pipeline", str(tiny_run.run_dir / "pipeline"))
    source = source.replace("num_inference_steps=25", "num_inference_steps=2")
    assert ast.parse(source)
    exec(compile(source, "README.md", "exec"), {})
    assert (tmp_path / "frontal.png").is_file()


def test_generate_command_runs_on_a_pipeline(tiny_run, tmp_path):
    (line,) = [b for b in blocks("bash") if "medcodi generate" in b]
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
    assert "Not for clinical use" in TEXT
