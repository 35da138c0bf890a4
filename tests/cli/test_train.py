"""`medcodi train`, stopped and resumed."""

import logging
import signal

import pytest

from medcodi.cli import main
from medcodi.training.checkpoint import checkpoints
from medcodi.training.tracking import read_metrics
from tests.forked import Forked
from tests.tiny import write_recipe
from tests.training.parts import stage2_recipe


def test_ctrl_c_exits_with_130_and_the_same_command_resumes(tiny_run, tmp_path, caplog):
    recipe = stage2_recipe(tiny_run, tmp_path, name="report", num_steps=200)
    path = write_recipe(recipe, tmp_path / "recipe.yaml")
    folder = recipe.run_dir / "stage2" / "report"
    process = Forked(["train", "stage2", "--config", path], tmp_path / "log")
    process.wait(until=lambda: "stage2/report step 3/" in process.said())
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130, process.said()
    assert "Traceback" not in process.said()
    assert "rerun the same command to go on" in process.said()
    (checkpoint,) = checkpoints(folder / "checkpoints")
    step = int(checkpoint.name.split("_")[1])
    assert 3 <= step < 200
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit, match="0"):
        main(["train", "stage2", "--config", str(path), "checkpoint_every=60"])  # learns the same
    assert f"resuming {folder} at step {step}" in caplog.text
    assert (folder / "export" / "done.json").is_file()
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if row["split"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, 201))
