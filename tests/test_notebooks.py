"""The notebooks of docs/ run from their first cell to their last, on a tiny pipeline."""

import json
import os
from pathlib import Path

import pytest

from tests.tiny import write_recipe

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_they_are_stored_without_outputs():
    assert [path.stem for path in NOTEBOOKS] == ["dicom_to_model", "evaluation", "first_hour"]
    for path in NOTEBOOKS:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["nbformat"] == 4
        assert not any(cell.get("outputs") for cell in document["cells"])
        for source in code_of(path):
            compile(source, path.name, "exec")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run(path, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = str(FOLDER.parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    recipe = write_recipe(tiny_run, tmp_path / "tiny.yaml")
    settings = {
        "PIPELINE": str(tiny_run.run_dir / "pipeline"),
        "CONFIG": str(recipe),
        "STUDIES": 40 if path.stem == "dicom_to_model" else 6,
    }
    namespace = {"__name__": "__main__"}
    for number, source in enumerate(code_of(path)):
        exec(compile(source, f"{path.name}, cell {number}", "exec"), namespace)
        if number == 0:  # the cell of settings
            namespace |= {key: value for key, value in settings.items() if key in namespace}
