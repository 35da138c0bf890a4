"""Paired losses by subset of the prompts: over all rows, the same for the same weights, and zero
gain from a prompt that is not read."""

import json
import math

import pytest
import torch

from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.paired import TIMES, paired_losses, paired_partners, subsets, table
from medcodi.training.tasks.stage2 import Stage2Task
from medcodi.training.tasks.stage3 import Stage3Task
from medcodi.training.tracking import read_metrics
from tests.networks import wake
from tests.tiny import copy_run


@pytest.fixture
def task(tiny_run):
    return Stage2Task(Run(tiny_run), "frontal").eval()


def measured(task, size=7):
    return paired_losses(
        task.diffusion, "frontal", task.dataset("validation"), size, torch.device("cpu")
    )


def test_every_subset_on_the_rows_that_have_it(task):
    found, data = measured(task), task.dataset("validation")
    present = data[list(range(len(data)))].present
    names = task.diffusion.fusion.names
    assert [n for n in found if n not in ("times", "none")] == [
        "+".join(s) for s in subsets(names)[1:]
    ]
    for subset in subsets(names)[1:]:
        both = math.prod(present[n].long() for n in subset)
        assert found["+".join(subset)]["rows"] == int(both.sum())
    assert len(found["none"]) == len(TIMES) and min(found["none"]) > 0
    assert found == measured(task)
    assert len(table(found).splitlines()) == 2 + len(subsets(names)) - 1


def test_a_prompt_that_is_not_read_gains_nothing(task):
    with torch.no_grad():
        for parameter in task.diffusion.fusion.parameters():
            parameter.zero_()
    for row in measured(task).values():
        if isinstance(row, dict):
            assert row["gain"] == pytest.approx([0.0] * len(TIMES), abs=1e-6)


def test_it_is_written_at_the_end_of_stage_2(tiny_run, tmp_path):
    recipe = copy_run(tiny_run, tmp_path, without=("stage2", "stage3"))
    recipe.stage2.paired_validation = True
    train_stage(recipe, "stage2")
    folder = recipe.run_dir / "stage2" / "tabular"
    last = read_metrics(folder / "metrics.jsonl")[-1]
    config = json.loads((folder / "export" / "config.json").read_text())
    assert last["split"] == "final" and last["paired"] == config["paired"]


def test_partners_of_an_untrained_coupling_gain_nothing(tiny_run, tmp_path):
    """What couples outputs starts at zero: noisy and clean partners change nothing, and a woken
    denoiser does."""
    recipe = copy_run(tiny_run, tmp_path, without=("stage3",))
    task = Stage3Task(Run(recipe)).eval()
    data = task.dataset("validation")
    found = paired_partners(task.joint, data, 7, torch.device("cpu"))
    assert set(found) == set(task.names)
    for row in found.values():
        assert row["rows"] > 0 and not any(row["noisy"]["gain"]) and not any(row["clean"]["gain"])
    wake(task.joint.diffusions["frontal"].denoiser)
    woken = paired_partners(task.joint, data, 7, torch.device("cpu"))
    assert all(woken["frontal"]["clean"]["gain"]) and woken["report"] == found["report"]
