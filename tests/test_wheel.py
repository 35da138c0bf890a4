"""The wheel holds all that the commands need: it is built, installed elsewhere and used outside the
repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import write_recipe

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_trains_and_evaluates_outside_the_repository(tiny_run, tmp_path):
    """Without its dependencies: those of this environment are used."""
    site = tmp_path / "site"
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str | Path) -> str:
        call = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            call, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    run("-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    run("-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel)
    assert str(site) in run("-c", "import medcodi; print(medcodi.__file__)")
    assert "recipes" in run(
        "-c", "from medcodi.recipes import shipped; print('recipes', shipped())"
    )
    assert "Not for clinical use" in run(site / "bin" / "medcodi", "--help")
    recipe = write_recipe(tiny_run, tmp_path / "tiny.yaml")
    assert "is complete" in run("-m", "medcodi.train", "stage2", "--config", recipe)
    told = run(site / "bin" / "medcodi", "evaluate", "--config", recipe, "--tables", "T1")
    assert '"T1": {"status": "done"' in told
    assert (tmp_path / "results" / "tiny" / "report.html").is_file()
