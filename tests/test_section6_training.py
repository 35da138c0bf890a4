"""docs/architecture.md, "Published faults", the items of the training stages: 2 to 5, 12, 14 and
15 (the others in test_section6.py)."""

import pytest
import torch
from torch import nn

from medcodi.config_io import for_modality
from medcodi.modalities.family import ModelFamily, seeded
from medcodi.nn.weights import load_module, save_module
from medcodi.training.draws import Draws
from medcodi.training.interrupt import TrainingInterrupted
from medcodi.training.loop import NonFiniteLossError, fit
from medcodi.training.run import Run
from medcodi.training.task import Task
from medcodi.training.tasks.stage2 import Stage2Task
from medcodi.training.tasks.stage3 import Stage3Task, draw_roles
from tests.networks import REPORTS, cached_batch, normal, tiny_assets, wake
from tests.tiny import tiny_recipe

BATCH = 8


class UntrainedRun(Run):
    """A run whose earlier stages are networks at their initial weights, with nothing on disk."""

    def _assets(self):
        return tiny_assets(self.recipe)

    def check_reconstruction(self, group):
        pass

    def diffusion(self, name):
        with seeded(0):
            return wake(self.family.build_diffusion(name))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return UntrainedRun(tiny_recipe(tmp_path_factory.mktemp("section6_training")))


@pytest.fixture(scope="module")
def family(run):
    return run.family


def draws(step: int = 0, rows: int = BATCH) -> Draws:
    return Draws(0, "test", step, rows, range(rows))


def stage2_loss(task: Stage2Task, batch=None, step: int = 0) -> torch.Tensor:
    batch = batch or cached_batch(task.run.family, BATCH, prompts=task.diffusion.fusion.names)
    return task(batch, draws(step), 0.0)["loss"]


def test_02_any_number_of_outputs_trains(run):
    """|G| = 2, 3 and 4 are drawn, and a joint step over them has a finite loss and gradients for
    every member."""
    present = torch.ones(400, 4, dtype=torch.bool)
    roles = draw_roles(present, draws(rows=400), clean_probability=0.3, null_probability=0.1)
    members = roles.noisy | roles.clean
    sizes = members.sum(1)
    assert (
        all(0.25 < float((sizes == n).float().mean()) < 0.42 for n in (2, 3, 4))
        and sizes.min() == 2
    )
    assert roles.noisy.any(1).all() and not (roles.noisy & roles.clean).any()
    assert not (roles.prompts & roles.noisy).any()
    task = Stage3Task(run)
    losses = task(cached_batch(run.family, 32), draws(rows=32), 0.0)
    means = {f"{name}/mean" for name in run.family.names}
    assert set(losses) == {"loss", *run.family.names} | means
    assert all(torch.isfinite(v) and v > 0 for v in losses.values())


def test_03_stage_2_takes_its_first_step_and_the_next(run):
    for name in run.family.names:
        task, history = Stage2Task(run, name), []
        optimizer = torch.optim.Adam(task.parameters(), lr=1e-2)
        for _ in range(8):
            loss = stage2_loss(task)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(float(loss.detach()))
        assert history[-1] < history[0], name


def test_04_lateral_has_its_own_denoiser(run):
    family = run.family
    tasks = {name: Stage2Task(run, name) for name in family.names}
    ids = [{id(p) for p in task.parameters()} for task in tasks.values()]
    assert sum(map(len, ids)) == len(set.union(*ids))
    assert (
        len({task.label for task in tasks.values()}) == 4
        and tasks["lateral"].label == "stage2/lateral"
    )
    assert family.groups["radiograph"] == [
        "frontal",
        "lateral",
    ]  # they do share encoder and autoencoder
    before = [p.clone() for p in tasks["frontal"].parameters()]
    stage2_loss(tasks["lateral"]).backward()
    torch.optim.SGD(tasks["lateral"].parameters(), lr=1.0).step()
    assert all(
        torch.equal(a, b) for a, b in zip(before, tasks["frontal"].parameters(), strict=True)
    )
    assert all(p.grad is None for p in tasks["frontal"].parameters())


def test_05_the_outputs_own_embedding_is_never_its_prompt(run):
    for name in run.family.names:
        prompts = run.family.prompt_names(name)
        assert name not in prompts and len(prompts) == 3
        task = wake(Stage2Task(run, name))
        assert task.diffusion.fusion.names == prompts
        batch = cached_batch(run.family, BATCH, prompts)
        loss = stage2_loss(task, batch).detach()
        with pytest.raises(ValueError, match=rf"\['{name}'\] cannot stand in the context"):
            stage2_loss(task, cached_batch(run.family, BATCH))
        batch.encodings[prompts[0]].tokens.add_(1.0)
        assert stage2_loss(task, batch).detach() != loss  # the others do reach it


def test_how_often_a_modality_is_trained_without_a_prompt_may_be_its_own(tmp_path):
    recipe = tiny_recipe(tmp_path)
    recipe.diffusion.null_prompt_probability = 0.0
    recipe.modalities["tabular"]["null_prompt_probability"] = 0.75
    run, rows = UntrainedRun(recipe), 400
    without = {}
    for name in ("tabular", "report"):
        batch = cached_batch(run.family, rows, run.family.prompt_names(name))
        without[name] = float(
            (~Stage2Task(run, name).draw_prompts(batch, draws(rows=rows)).any(dim=1)).float().mean()
        )
    assert without["report"] == 0 and without["tabular"] == pytest.approx(0.75, abs=0.07)
    recipe.modalities["tabular"]["null_prompt_probability"] = 1.5
    with pytest.raises(
        ValueError,
        match=r"modalities.tabular.null_prompt_probability must be in \[0, 1\], got 1.5",
    ):
        ModelFamily(recipe, tiny_assets(recipe))


class Regression(Task):
    """The smallest task there is: one weight. Turns NaN, or is interrupted, at a step of its own
    choice."""

    label = "stage2/lateral"

    def __init__(self, nan_at: int = -1, stop_at: int = -1):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.nan_at, self.stop_at, self.calls = nan_at, stop_at, 0

    def dependencies(self):
        return "regression"

    def dataset(self, split):
        rows = normal(20, 3, seed=5)
        return type("Rows", (), {"__len__": lambda _: 20, "__getitem__": lambda _, i: rows[i]})()

    def forward(self, batch, draws, progress):
        self.calls += 1
        if self.calls == self.stop_at:
            raise TrainingInterrupted("stopped")
        loss = ((batch @ self.weight) - draws.normal()).square().mean()
        return {"loss": loss * float("nan") if self.calls == self.nan_at else loss}

    def export(self, folder, config):
        save_module(self, folder, config)


def regression(tmp_path, task: Regression) -> torch.Tensor:
    recipe = tiny_recipe(
        tmp_path, stage2={"num_steps": 8, "batch_size": 4, "checkpoint_every": 3, "ema_decay": 0.9}
    )
    load_module(task, fit(task, for_modality(recipe.stage2, "lateral"), recipe))
    return task.weight.detach()


def test_12_a_loss_that_is_not_finite_stops_the_training(tmp_path):
    task = Regression(nan_at=3)
    with pytest.raises(NonFiniteLossError, match=r"stage2/lateral, step 3: losses .*nan"):
        regression(tmp_path, task)
    assert torch.isfinite(task.weight).all() and task.calls == 3
    assert not list(tmp_path.rglob("model.safetensors"))


def test_14_training_resumes_where_it_stopped(tmp_path):
    whole = regression(tmp_path / "whole", Regression())
    with pytest.raises(TrainingInterrupted):
        regression(tmp_path / "resumed", Regression(stop_at=6))
    rest = Regression()
    assert torch.equal(regression(tmp_path / "resumed", rest), whole) and whole.any()
    assert rest.calls == 5  # steps 4 to 8, from the checkpoint of step 3


def dead(module: nn.Module, loss: torch.Tensor) -> list[str]:
    """Trainable parameters that a backward pass does not reach."""
    loss.backward()
    return [
        n
        for n, p in module.named_parameters()
        if p.requires_grad and p.numel() and (p.grad is None or not p.grad.any())
    ]


def test_15_no_parameter_is_dead_in_stages_2_and_3(run):
    for name in run.family.names:
        task = wake(Stage2Task(run, name)).train()
        assert dead(task, sum(stage2_loss(task, step=s) for s in range(6))) == [], name
    task = Stage3Task(run)
    before = {n: p.clone() for n, p in task.named_parameters() if not p.requires_grad}
    for diffusion in task.joint.diffusions.values():
        wake(diffusion)
    assert (
        dead(
            task,
            sum(task(cached_batch(run.family, 16), draws(s, 16), 0.0)["loss"] for s in range(3)),
        )
        == []
    )
    trainable = {n for n, p in task.named_parameters() if p.requires_grad}
    assert all(
        n.startswith("joint.environments.") or "cross_modal" in n or "partner_mean" in n
        for n in trainable
    )
    torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=1.0).step()
    assert all(
        torch.equal(p, dict(task.named_parameters())[n]) for n, p in before.items()
    )  # frozen ones do not move


def values_of(family) -> dict:
    table = torch.tensor([[0.0, 1, 2, 0, 1, 0, 1, 0.3, -0.2, 0.5, 1.0, -1.0, 0.1]] * 6)
    for column in range(table.shape[1]):
        table[column % 6, column] = float("nan")  # every column is missing once
    images = normal(6, 1, 16, 16).clamp(-1, 1)
    return {"frontal": images, "lateral": images.flip(0), "report": REPORTS * 2, "tabular": table}


def test_15_no_parameter_is_dead_in_the_encoders_and_autoencoders(family):
    values = values_of(family)
    with seeded(0):
        space = wake(family.build_shared_space()).train()
    keys, both = torch.arange(6), torch.ones(6, dtype=torch.bool)
    embeds = {
        n: space.encode(n, v).embeds + 0.1 * normal(6, 16, seed=len(n)) for n, v in values.items()
    }
    loss = sum(
        space.pair_loss((embeds[a], embeds[b]), (keys, keys), both)
        for a, b in family.recipe.shared_space.bridging_pairs
    )
    assert dead(space, loss) == []
    for group in family.groups:
        with seeded(0):
            autoencoder = wake(family.build_autoencoder(group)).train()
        name = family.groups[group][0]
        assert (
            dead(
                autoencoder,
                autoencoder.losses(values[name], 1.0, torch.Generator().manual_seed(0))["loss"],
            )
            == []
        )
