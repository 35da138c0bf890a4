"""The phantom of a recipe is rendered where its prepared folder is missing, once."""

import pytest

from medcodi.config import DataConfig
from medcodi.data.prepared import PreparedDataset
from medcodi.evaluation.studies import Studies
from medcodi.sources.phantom import render_missing
from tests.tiny import tiny_recipe

FEW = {"num_studies": 12, "size": 16, "num_processes": 1}


def test_it_is_rendered_once_and_kept(tmp_path):
    data = DataConfig(prepared=str(tmp_path / "prepared"), phantom=FEW)
    render_missing(data)
    written = (tmp_path / "prepared" / "prepared.json").stat().st_mtime_ns
    assert len(PreparedDataset.load(tmp_path / "prepared", "train")) > 0
    render_missing(data)
    assert (tmp_path / "prepared" / "prepared.json").stat().st_mtime_ns == written


def test_other_recipes_are_left_alone(tmp_path):
    render_missing(DataConfig(prepared=str(tmp_path / "mine")))
    assert not (tmp_path / "mine").exists()


def test_an_evaluation_renders_what_it_measures_on(tmp_path):
    data = {"prepared": str(tmp_path / "prepared"), "phantom": FEW}
    studies = Studies(tiny_recipe(tmp_path, data=data))
    assert not (tmp_path / "prepared").exists()
    assert len(studies.of(("train", "validation", "test"))) == 12


def test_one_of_several_processes_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    data = DataConfig(prepared=str(tmp_path / "prepared"), phantom=FEW)
    with pytest.raises(FileNotFoundError, match="--num-studies 12 --size 16 --num-processes 1"):
        render_missing(data)
