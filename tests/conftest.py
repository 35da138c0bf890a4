"""Session fixtures. Nothing is fetched from the network; one thread, so that numbers are the same
everywhere."""

import os

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = os.environ[
    "HF_DATASETS_OFFLINE"
] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from medcodi.export import assemble
from medcodi.pipeline import MedCoDiPipeline
from tests.tiny import prepare_tiny, tiny_recipe, train_all


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_prepared(tmp_path_factory):
    """Folder of a prepared phantom of 60 studies at 16 x 16 pixels."""
    return prepare_tiny(tmp_path_factory.mktemp("tiny") / "prepared")


@pytest.fixture(scope="session")
def tiny_run(tiny_prepared):
    """Recipe of a finished run: all stages trained for three steps, pipeline assembled. Read it, or
    `copy_run` it."""
    recipe = tiny_recipe(tiny_prepared.parent)
    train_all(recipe)
    assemble(recipe)
    return recipe


@pytest.fixture
def tiny_pipeline(tiny_run):
    """The assembled pipeline of `tiny_run`, loaded from its folder."""
    pipe = MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    return pipe
