"""The command line: what is there, what users see of errors, one place for generate's options."""

import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medcodi.cli import main
from medcodi.cli.app import app
from medcodi.cli.evaluate import BENCHES
from medcodi.generation.request import Request
from medcodi.recipes import about, find_recipe, shipped

ROOT = Path(__file__).parents[2]
# the published entry points: thin files of the same commands
SCRIPTS = [
    *(f"train/{name}.py" for name in ("autoencoder", "stage1", "stage2", "stage3")),
    *(f"eval/{name}.py" for name in ("run", "speed", "memory", "sampling", "metric_speed")),
    *(f"eval/{name}.py" for name in ("multiprompt_ablation", "prepare_speed", "prepare_memory")),
    *(f"scripts/{name}.py" for name in ("generate_dataset", "import_weights")),
]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_every_recipe_of_configs_is_shipped_and_says_what_it_is():
    assert {p.name for p in shipped().values()} == {
        p.name for p in (ROOT / "configs").glob("*.yaml")
    }
    assert all(len(about(path)) > 20 for path in shipped().values())
    assert find_recipe("phantom_tiny") == shipped()["phantom_tiny"]
    assert find_recipe(ROOT / "configs" / "covid_cxr.yaml") == ROOT / "configs" / "covid_cxr.yaml"
    with pytest.raises(
        FileNotFoundError, match="is no file and no shipped recipe; recipes: covid_cxr"
    ):
        find_recipe("phantom_tinny")


def test_train_without_a_recipe_lists_them_and_takes_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("train", "stage2", "data.phantom=null")  # else it would render its phantoms
    assert all(name in done.output for name in shipped())
    assert "no --config: taking phantom" in done.output
    assert isinstance(done.exception, FileNotFoundError)  # nothing is prepared here
    assert "runs/phantom/prepared" in str(done.exception)


def test_unknown_stages_and_benchmarks_are_named():
    assert "did you mean 'stage2'?" in str(run("train", "stage22").exception)
    assert "did you mean 'speed'?" in str(run("bench", "spede").exception)


@pytest.mark.parametrize("what", BENCHES)
def test_every_benchmark_has_its_own_help(what):
    assert f"medcodi bench {what}" in run("bench", what, "--help").output


def test_generate_has_an_option_for_every_field_of_a_request():
    told = run("generate", "--help").output
    for option in fields(Request):
        flag = option.metadata["flag"] or f"--{option.name.replace('_', '-')}"
        assert flag[:18] in told, flag
    assert run("generate", "--output", "x").exit_code == 2  # the pipeline is missing


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--shard", "3/2"), "shard must read K/N with 0 <= K < N, got 3/2"),
        (("--guidance-interval", "1"), "guidance_interval must read LOW,HIGH"),
        (("--guidance-scale", "3"), "guidance_scale leads towards prompts"),
        (("--given", "a,b"), "name their prepared folder too"),
        (("--num-processes", "2"), "expected 2 processes, 1 run"),
    ],
)
def test_generate_reads_its_options_as_a_request_does(tmp_path, option, message):
    done = run("generate", "--pipeline", tmp_path, "--output", tmp_path / "out", *option)
    assert message in str(done.exception)


def test_user_errors_are_one_line(capsys):
    with pytest.raises(SystemExit, match="1"):
        main(["export", "--config", "none.yaml"])
    told = capsys.readouterr().err
    assert told.startswith("error: none.yaml is no file") and told.count("\n") == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_thin_and_are_the_commands(name, monkeypatch, capsys):
    """`--help` of each ends well, by way of the package's command line."""
    path = ROOT / name
    assert len(path.read_text().splitlines()) < 25
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(path), run_name="__main__")
    assert "usage" in capsys.readouterr().out.lower()


def test_version_and_module():
    assert run("--version").output.strip() == "0.1.0"
    call = [sys.executable, "-m", "medcodi.train", "--help"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "autoencoder, stage1, stage2 or stage3" in done.stdout


def test_the_command_line_starts_without_torch():
    """Help and errors come at once."""
    code = "import sys, medcodi.cli.app; assert not {'torch', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
