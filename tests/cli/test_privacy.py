"""`medcodi privacy fit` and `medcodi generate --private`, on the tiny pipeline."""

import json

from typer.testing import CliRunner

from medcodi.cli.app import app


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def test_a_private_run_says_what_it_refused(tiny_run, tmp_path):
    prepared = tiny_run.data.prepared
    options = ("--modalities", "report", "--false-match-rate", 0.1)
    assert (
        "threshold of report"
        in run("privacy", "fit", prepared, "--output", tmp_path / "filter", *options).output
    )
    command = (
        *("generate", "--pipeline", tiny_run.run_dir / "pipeline", "--outputs", "report"),
        *("--num-samples", 6, "--num-inference-steps", 2, "--private", tmp_path / "filter"),
    )
    for name in ("one", "two"):
        run(*command, "--output", tmp_path / name)
    first, second = (
        json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("one", "two")
    )
    assert first["samples"] == second["samples"]
    assert first["privacy"]["judged"] == ["report"] and first["refusals"]["kept"] == 6
    assert str(prepared) not in json.dumps(first)
    run(*command, "--output", tmp_path / "one")  # finished: the same command finds it again
