"""One global batch in any topology: processes x accumulation x micro-batch."""

import pytest
import torch

from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tracking import read_metrics
from tests.training.parts import exported, stage2_recipe
from tests.training.processes import in_processes

LABEL = "stage2/tabular"


@pytest.mark.slow
def test_rate_average_and_losses_are_those_of_one_process(tiny_run, tmp_path):
    """(1 process, accumulation 4), (2, 2) and (4, 1): the same learning rate at every step, the
    same losses, and the same averaged weights, up to the rounding of sums."""
    rows, weights = [], []
    for processes, accumulation in ((1, 4), (2, 2), (4, 1)):
        recipe = stage2_recipe(
            tiny_run,
            tmp_path / str(processes),
            ema_decay=0.9,
            gradient_accumulation_steps=accumulation,
        )
        Run(recipe)
        if processes == 1:
            train_stage(recipe, "stage2")
        else:
            train = lambda _, recipe=recipe: train_stage(recipe, "stage2")
            codes = in_processes(processes, "ddp", train)
            assert codes == [0] * processes
        found = read_metrics(recipe.run_dir / LABEL / "metrics.jsonl")
        rows.append([row for row in found if row["split"] == "train"])
        weights.append(exported(recipe, LABEL))
    rates = [[row["lr"] for row in found] for found in rows]
    assert rates[0] == rates[1] == rates[2] and len(set(rates[0])) > 1
    for other_rows, other in zip(rows[1:], weights[1:], strict=True):
        for one, two in zip(rows[0], other_rows, strict=True):
            assert one["loss"] == pytest.approx(two["loss"], rel=1e-5)
        for key, value in weights[0].items():  # Adam: see parts.assert_close
            torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-4, msg=key)
        different = torch.cat([(weights[0][k] - other[k]).float().flatten() for k in other])
        assert different.abs().mean() < 1e-6
