"""The worked examples of CONTRIBUTING.md run, and are at most 40 lines long."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medcodi.data.prepared import PreparedDataset
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.table import TABLES
from medcodi.generation.formats import Facts, GeneratedStudy
from medcodi.modalities.base import REGISTRY, get_kind

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
BLOCKS = dict(re.findall(r"## Add a (\w+)\n.*?```python\n(.*?)```", TEXT, re.DOTALL))


def example(name: str) -> dict:
    source = BLOCKS[name]
    assert len(source.splitlines()) <= 40
    names = {"__name__": f"example_{name}"}
    exec(compile(source, f"CONTRIBUTING.md: {name}", "exec"), names)
    return names


def test_a_source(tmp_path):
    (tmp_path / "raw").mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.full((8, 8), 128, np.uint8)).save(tmp_path / "raw" / f"{name}.png")
    (tmp_path / "raw" / "a.txt").write_text("Clear lungs.")
    counts = example("source")["prepare_pairs"](tmp_path / "raw", {}, tmp_path / "out")
    assert counts == {"files": 2, "studies": 1}
    assert "b.png" in (tmp_path / "out" / "rejects.csv").read_text()
    splits = [PreparedDataset.load(tmp_path / "out", s) for s in ("train", "validation", "test")]
    assert sum(map(len, splits)) == 1


def test_a_format(tiny_pipeline, tmp_path):
    modalities = [tiny_pipeline.family.modality(name) for name in ("frontal", "report")]
    facts = Facts("tiny", "0" * 8, "0.1.0", "2026-01-01")
    stored = {"frontal": np.zeros((16, 16)), "report": "Clear lungs."}
    study = GeneratedStudy("sample_0", 1, "none", stored, {})
    written = example("format")["JsonFormat"](modalities, facts).write(study, tmp_path, "")
    assert written.files == {"texts": "sample_0.json"} and written.left_out == {
        "frontal": "no text"
    }
    assert '"report": "Clear lungs."' in (tmp_path / "sample_0.json").read_text()


def test_a_table(tiny_run, tmp_path):
    try:
        table = example("table")["ReportLengths"]()
        result = table.run(EvaluationContext(tiny_run, tmp_path))
    finally:
        TABLES.pop("lengths", None)
    assert [row.kind for row in result.rows] == ["real", "floor"] and result.n > 0


def test_a_modality():
    try:
        kind = example("modality")["TitleModality"]
        assert get_kind("title") is kind
        title = kind("title", kind.Args())
        assert title.from_user(["Chest, two views"]) == ["Chest, two views"]
        with pytest.raises(ValueError, match="at most 12 words, got 13"):
            title.from_user(["word " * 13])
    finally:
        REGISTRY.pop("title", None)
