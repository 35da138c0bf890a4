"""Parts of the tests of training: a stage 2 that can be stopped, and what a run exported."""

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from medcodi.config_io import for_modality
from medcodi.nn.weights import WEIGHTS
from medcodi.training.ema import EMA
from medcodi.training.interrupt import TrainingInterrupted
from medcodi.training.loop import fit
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.stage2 import Stage2Task
from medcodi.training.tracking import read_metrics
from tests.tiny import copy_run

LATER = ("stage2", "stage3", "pipeline")  # what a fresh stage 2 makes


class Hooked(Stage2Task):
    """Stage 2 that calls `hook` in the forward pass of training step `at` (counted from 1 in this
    process)."""

    def __init__(self, run, name, at, hook):
        super().__init__(run, name)
        self.calls, self.at, self.hook = 0, at, hook

    def forward(self, batch, draws, progress):
        self.calls += self.training
        if self.training and self.calls == self.at:
            self.hook()
        return super().forward(batch, draws, progress)


def stage2_recipe(tiny_run, folder, name="tabular", num_steps=6, **settings):
    """A run with everything before stage 2 done, whose stage 2 trains one modality."""
    settings = {"modality": name, "num_steps": num_steps, **settings}
    return copy_run(tiny_run, folder, without=LATER, stage2=settings)


def exported(recipe, label):
    return load_file(recipe.run_dir / label / "export" / WEIGHTS)


def losses(recipe, label):
    """(step, loss) of training and validation."""
    rows = read_metrics(recipe.run_dir / label / "metrics.jsonl")
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def fit_stage2(recipe, task):
    return fit(task, for_modality(recipe.stage2, task.name), recipe)


def interrupted(recipe, stage):
    """Stop a stage in its third step."""
    with pytest.MonkeyPatch.context() as patched:
        update = EMA.update
        stop = lambda self, step: (
            update(self, step),
            step == 3 and os.kill(os.getpid(), signal.SIGTERM),
        )
        patched.setattr(EMA, "update", stop)
        with pytest.raises(TrainingInterrupted):
            train_stage(recipe, stage)


def assert_close(one, two, single=1e-5):
    """Losses and weights. Adam turns the rounding of a gradient near zero (as of a bias of keys,
    which attention does not see) into a part of a step, for single numbers: `single` bounds those,
    1e-6 the mean."""
    torch.testing.assert_close(torch.tensor(one[1]), torch.tensor(two[1]), rtol=1e-5, atol=1e-5)
    assert one[0].keys() == two[0].keys()
    for key in one[0]:
        if key.endswith("in_proj_bias"):  # query, key, value
            for weights, _ in (one, two):
                weights[key].chunk(3)[1].zero_()
        torch.testing.assert_close(
            one[0][key],
            two[0][key],
            rtol=1e-5,
            atol=single,
            msg=lambda told, key=key: f"{key}: {told}",
        )
    differences = torch.cat([(one[0][key] - two[0][key]).float().flatten() for key in one[0]])
    assert differences.abs().mean() < 1e-6
