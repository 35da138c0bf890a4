"""The moving average of the weights: its formula, and that it is what a stage exports."""

import pytest
import torch

from medcodi.training.checkpoint import checkpoints
from medcodi.training.ema import EMA
from medcodi.training.tasks import train_stage
from tests.training.parts import exported, stage2_recipe

LABEL, STEPS, DECAY = "stage2/tabular", 5, 0.4


def test_what_is_exported_is_the_average_of_the_weights_after_every_step(tiny_run, tmp_path):
    raw, averaged = (
        stage2_recipe(
            tiny_run,
            tmp_path / str(decay),
            num_steps=STEPS,
            ema_decay=decay,
            checkpoint_every=1,
            checkpoints_kept=STEPS,
        )
        for decay in (0.0, DECAY)
    )
    for recipe in (raw, averaged):
        train_stage(recipe, "stage2")
    states = [
        torch.load(p / "state.pt", weights_only=True)
        for p in checkpoints(averaged.run_dir / LABEL / "checkpoints")
    ]
    last, found = exported(raw, LABEL), exported(averaged, LABEL)
    for name, start in states[0]["ema"].items():
        average = start  # after step 1
        weights = [state["model"][name] for state in states[1:]]
        weights.append(last[name.removeprefix("diffusion.")])  # averaging changes no step
        for step, value in enumerate(weights, start=2):
            average = average.lerp(value, 1 - min(DECAY, (1 + step) / (10 + step)))
        key = name.removeprefix("diffusion.")
        assert torch.equal(found[key], average), key
    moved = [k for k in found if not torch.equal(found[k], last[k])]
    assert len(moved) > len(found) / 2  # the average is not the last weight


def test_a_decay_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"ema_decay must be in \[0, 1\), got 1"):
        EMA(torch.nn.Linear(1, 1), 1)
