"""`medcodi runs`."""

from medcodi.cli.console import console
from medcodi.cli.runs import runs


def test_runs_prints_a_row_a_stage(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(console, "width", 200)
    with console.capture() as captured:
        runs(tiny_run.run_dir.parent)
    rows = [line for line in captured.get().splitlines() if "3 of 3" in line]
    assert len(rows) == 9
    assert all("tiny" in row and "complete" in row for row in rows)
    with console.capture() as captured:
        runs(tmp_path)
    assert "no stage has begun" in captured.get()
