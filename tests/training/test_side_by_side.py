"""Independent trainings in worker processes: the same weights as one after the other, and errors
that arrive."""

import copy

import pytest

from medcodi.nn.weights import weights_hash
from medcodi.training.run import Run
from medcodi.training.side_by_side import fill_caches, jobs_of, train_side_by_side
from tests.tiny import copy_run, tiny_recipe


def test_jobs_are_the_tasks_of_the_stages(tiny_run):
    jobs = jobs_of(Run(tiny_run), ("stage1", "autoencoder"))
    groups = {("autoencoder", "frontal"), ("autoencoder", "report"), ("autoencoder", "tabular")}
    assert len(jobs) == 4 and set(jobs) == {*groups, ("stage1", None)}
    assert [name for _, name in jobs_of(Run(tiny_run), ("stage2",))] == list(tiny_run.modalities)


def test_long_ones_begin_first(tiny_run):
    recipe = copy.deepcopy(tiny_run)
    recipe.stage2.per_modality = {"report": {"num_steps": recipe.stage2.num_steps + 1}}
    names = [name for _, name in jobs_of(Run(recipe), ("stage2",))]
    assert names == ["report", *(name for name in recipe.modalities if name != "report")]


@pytest.mark.slow
def test_workers_make_the_weights_of_one_process(tiny_run, tmp_path):
    recipe = copy_run(tiny_run, tmp_path, without=("stage2", "stage3", "pipeline"))
    fill_caches(Run(recipe))
    assert train_side_by_side(recipe, ("stage2",), num_workers=2) > 0.1  # GiB
    for name in recipe.modalities:
        exports = [weights_hash(r.run_dir / "stage2" / name / "export") for r in (tiny_run, recipe)]
        assert exports[0] == exports[1], name


@pytest.mark.slow
def test_the_error_of_a_worker_is_raised(tiny_prepared, tmp_path):
    recipe = tiny_recipe(tmp_path, data={"prepared": str(tiny_prepared)})
    with pytest.raises(
        FileNotFoundError, match="train 'autoencoder/radiograph' of recipe 'tiny' first"
    ):
        train_side_by_side(recipe, ("stage2",), num_workers=2)
