"""Stage 2: what trains."""

import pytest
import torch

from medcodi.nn.weights import weights_hash
from medcodi.training.draws import Draws
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.stage2 import Stage2Task
from tests.tiny import BATCH, copy_run
from tests.training.parts import LATER


@pytest.mark.parametrize("name", ["frontal", "tabular"])
def test_one_batch_overfits(tiny_run, name):
    task = Stage2Task(Run(tiny_run), name).train()
    batch = task.dataset("train")[list(range(BATCH))]
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    found = []
    while len(found) < 120 and not (found and found[-1] < 0.1 * found[0]):
        loss = task(batch, Draws(0, "fixed", 0, BATCH, range(BATCH)), 0.0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.1 * found[0]


def test_frozen_weights_do_not_move(tiny_run, tmp_path):
    run = Run(tiny_run)
    task = Stage2Task(run, "tabular")
    assert all(name.startswith("diffusion.") for name, _ in task.named_parameters())
    labels = ["stage1", *(f"autoencoder/{group}" for group in run.family.groups)]
    recipe = copy_run(tiny_run, tmp_path, without=LATER)
    before = {label: weights_hash(recipe.run_dir / label / "export") for label in labels}
    train_stage(recipe, "stage2")
    train_stage(recipe, "stage3")
    assert {label: weights_hash(recipe.run_dir / label / "export") for label in labels} == before
