"""`medcodi train`, and the scripts in train/."""

import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medcodi.cli import main
from medcodi.training.checkpoint import checkpoints
from medcodi.training.tracking import read_metrics
from tests.tiny import write_recipe
from tests.training.parts import stage2_recipe

REPOSITORY = Path(__file__).parents[2]


def test_script_exits_with_130_and_resumes(tiny_run, tmp_path, caplog):
    recipe = stage2_recipe(tiny_run, tmp_path, name="report", num_steps=200)
    path = write_recipe(recipe, tmp_path / "recipe.yaml")
    folder = recipe.run_dir / "stage2" / "report"
    script = [sys.executable, str(REPOSITORY / "train" / "stage2.py"), "--config", str(path)]
    process = subprocess.Popen(script, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "stage2/report step 3/" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait() == 130, rest
    assert "Traceback" not in rest and "rerun the same command to go on" in rest
    (checkpoint,) = checkpoints(folder / "checkpoints")
    step = int(checkpoint.name.split("_")[1])
    assert 3 <= step < 200
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit, match="0"):
        main(["train", "stage2", "--config", str(path), "checkpoint_every=60"])  # learns the same
    assert f"resuming {folder} at step {step}" in caplog.text
    assert (folder / "export" / "done.json").is_file()
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["split"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, 201))
