"""Published values: every key is used by a table, and a row has as many values as columns."""

import pytest

from medcodi.evaluation import papers
from medcodi.evaluation.papers import published


def test_published_rows_are_rows():
    rows = published("T4")
    assert {row.kind for row in rows} == {"paper"}
    best = next(row for row in rows if row.system == "MedCoDi-M FL>T")
    assert [best.cells[f"BLEU-{n}"] for n in range(1, 5)] == [0.44, 0.34, 0.29, 0.24]
    assert {row.n for row in published("T2") if row.system.startswith("MedCoDi")} == {33588}
    some = published("T3", ("measure", "Edema"))
    assert all(set(row.cells) == {"measure", "Edema"} for row in some)


def test_every_key_can_be_read():
    for key in papers._load():
        assert published(key)


def test_errors(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"unknown key 'T44' in papers\.yaml; did you mean 'T4'"):
        published("T44")
    (tmp_path / "papers.yaml").write_text("T4:\n  - {columns: [a, b], rows: {x: [1]}}\n")
    monkeypatch.setattr(papers, "PAPERS", tmp_path / "papers.yaml")
    papers._load.cache_clear()
    with pytest.raises(ValueError, match=r"papers.yaml, T4, 'x'"):
        published("T4")
    papers._load.cache_clear()
