"""`medcodi generate`: files, manifest and one-line errors."""

import hashlib
import json

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from medcodi.cli.app import app
from medcodi.pipeline import MedCoDiPipeline
from tests.forked import Forked
from tests.tiny import SIZE

EFFUSIONS = ("--prompt", "report=Large left effusion.", "--num-samples", "2", "--seed", "3")


def generate(tiny_run, output, *arguments):
    call = [
        "generate",
        "--pipeline",
        str(tiny_run.run_dir / "pipeline"),
        "--output",
        str(output),
        "--num-inference-steps",
        "2",
        *arguments,
    ]
    return CliRunner().invoke(app, call)


@pytest.fixture(scope="module")
def generated(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated") / "out"
    result = generate(tiny_run, folder, *EFFUSIONS)
    assert result.exit_code == 0, result.output
    return folder, result


def test_files_and_manifest(tiny_run, generated):
    folder, result = generated
    assert "2 samples of frontal, lateral, tabular" in " ".join(result.output.split())
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["synthetic"] is True and manifest["clinical_use"] is False
    pipe = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    assert manifest["model"]["hash"] == pipe.model_hash
    assert manifest["prompts"] == ["report=Large left effusion."]
    listed = {"manifest.json"}
    for sample in manifest["samples"]:
        assert set(sample["files"]) == {"frontal", "lateral", "tabular"}
        for described in sample["files"].values():
            listed.add(described["path"])
            assert (
                hashlib.sha256((folder / described["path"]).read_bytes()).hexdigest()
                == described["sha256"]
            )
    assert {path.name for path in folder.iterdir()} == listed
    assert Image.open(folder / "sample_00000_frontal.png").size == (SIZE, SIZE)
    columns = pipe.family.modality("tabular").schema.names
    assert list(pd.read_csv(folder / "sample_00001_tabular.csv").columns) == columns


def test_same_seed_same_files_and_written_files_are_prompts(tiny_run, generated, tmp_path):
    folder, _ = generated
    generate(tiny_run, tmp_path / "a", *EFFUSIONS)
    hashes = [
        [s["files"] for s in json.loads((f / "manifest.json").read_text())["samples"]]
        for f in (folder, tmp_path / "a")
    ]
    assert hashes[0] == hashes[1]
    result = generate(
        tiny_run,
        tmp_path / "b",
        "--prompt",
        f"frontal={folder / 'sample_00000_frontal.png'}",
        "--prompt",
        f"tabular={folder / 'sample_00000_tabular.csv'}",
        "--outputs",
        "report,lateral",
    )
    assert result.exit_code == 0, result.exception
    assert (tmp_path / "b" / "sample_00000_report.txt").is_file()
    result = generate(
        tiny_run,
        tmp_path / "c",
        "--prompt",
        "tabular=heart_rate=80; is_icu=true",
        "--outputs",
        "report",
    )
    assert result.exit_code == 0, result.exception


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--prompt", "report"], "a prompt must read NAME=VALUE, got 'report'"),
        (
            ["--prompt", "repot=x"],
            "unknown modality 'repot' in prompt; names: frontal, lateral, report, tabular",
        ),
        (
            ["--prompt", "frontal=nowhere.png"],
            "modality 'frontal': prompt file 'nowhere.png' does not exist",
        ),
        (["--prompt", "report=x", "--outputs", "report"], "cannot be prompt and output at once"),
        (
            ["--guidance-interval", "0.5"],
            "guidance_interval must read LOW,HIGH with 0 <= LOW < HIGH <= 1, got '0.5'",
        ),
        (["--outputs", "frontal,ct"], "unknown key 'ct'"),
        (
            ["--prompt", "tabular=heart_rate=fast"],
            "column 'heart_rate': expected a number, got 'fast'",
        ),
    ],
)
def test_errors(tiny_run, tmp_path, arguments, match):
    result = generate(tiny_run, tmp_path / "out", *arguments)
    assert isinstance(result.exception, ValueError) and match in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_finished_folder_is_not_overwritten(tiny_run, generated):
    folder, _ = generated
    result = generate(tiny_run, folder, "--seed", "9")
    assert isinstance(result.exception, ValueError) and "already holds a manifest.json" in str(
        result.exception
    )


def test_the_command_exits_with_one_line(tiny_run, tmp_path):
    """Exit code 1 and one line on stderr, no traceback."""
    call = [
        "generate",
        "--pipeline",
        tiny_run.run_dir / "pipeline",
        "--output",
        tmp_path / "out",
        "--prompt",
        "report=x",
        "--outputs",
        "report",
    ]
    done = Forked(call, tmp_path / "log")
    assert done.wait() == 1 and "Traceback" not in done.said()
    lines = [line for line in done.said().splitlines() if line.startswith("error:")]
    assert lines == ["error: ['report'] cannot be prompt and output at once"]


def test_labels_are_rows_of_prompts(tiny_run, tmp_path):
    labels = ("--labels", "Edema, no effusion", "--labels", "Was ventilated")
    result = generate(tiny_run, tmp_path / "out", *labels, "--outputs", "frontal")
    assert result.exit_code == 0, result.exception
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["labels"] == ["Edema, no effusion", "Was ventilated"]
    prompts = ("--prompt", "report=Edema. No effusion.", "--outputs", "frontal")
    generate(tiny_run, tmp_path / "same", *prompts)
    same = json.loads((tmp_path / "same" / "manifest.json").read_text())
    assert manifest["prompt_hashes"][0] == same["prompt_hashes"][0]
