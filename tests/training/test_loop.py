"""The training loop: exact resume, the same numbers twice, frozen weights, and what stops a run."""

import errno
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from medcodi.cli import main
from medcodi.config import for_modality, load_recipe
from medcodi.modalities.base import get_kind
from medcodi.nn.weights import WEIGHTS, load_module, weights_hash
from medcodi.training.checkpoint import CheckpointError, checkpoints
from medcodi.training.draws import Draws
from medcodi.training.ema import EMA
from medcodi.training.loop import NonFiniteLossError, TrainingInterrupted, fit
from medcodi.training.run import Run
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.stage2 import Stage2Task
from medcodi.training.tasks.stage3 import Stage3Task
from medcodi.training.tracking import environment, read_metrics
from tests.tiny import BATCH, copy_run, tiny_recipe, write_recipe

REPOSITORY = Path(__file__).parents[2]
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
    return [
        (row["step"], row["loss"]) for row in read_metrics(recipe.run_dir / label / "metrics.jsonl")
    ]


def assert_same_weights(a, b):
    assert a.keys() == b.keys()
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


def fit_stage2(recipe, task):
    return fit(task, for_modality(recipe.stage2, task.name), recipe)


@pytest.mark.parametrize("name", ["frontal", "tabular"])
def test_one_batch_overfits(tiny_run, name):
    task = Stage2Task(Run(tiny_run), name).train()
    batch = task.dataset("train")[list(range(BATCH))]
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    found = []
    for _ in range(120):
        loss = task(batch, Draws(0, "fixed", 0, BATCH, range(BATCH)), 0.0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[-1] < 0.1 * found[0]


def test_same_seed_same_losses_bit_for_bit(tiny_run, tmp_path):
    recipes = [stage2_recipe(tiny_run, tmp_path / folder, ema_decay=0.9) for folder in ("a", "b")]
    recipes.append(stage2_recipe(tiny_run, tmp_path / "other", ema_decay=0.9, optim={"lr": 2e-3}))
    for recipe in recipes:
        train_stage(recipe, "stage2")
    first, second, other = (losses(recipe, "stage2/tabular") for recipe in recipes)
    assert len(first) == 6 and first == second
    assert (
        first[0] == other[0] and first[2:] != other[2:]
    )  # the learning rate acts from the first update on
    assert_same_weights(*(exported(recipe, "stage2/tabular") for recipe in recipes[:2]))


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_equals_uninterrupted(tiny_run, tmp_path, signal_number):
    settings = {"ema_decay": 0.9, "validate_every": 2, "checkpoint_every": 3}
    whole, broken = (
        stage2_recipe(tiny_run, tmp_path / folder, **settings) for folder in ("whole", "broken")
    )
    train_stage(whole, "stage2")
    handler = signal.getsignal(signal_number)
    task = Hooked(Run(broken), "tabular", at=4, hook=lambda: os.kill(os.getpid(), signal_number))
    with pytest.raises(
        TrainingInterrupted, match="stage2/tabular stopped at step 4; rerun the same command"
    ):
        fit_stage2(broken, task)
    assert signal.getsignal(signal_number) is handler
    folder = broken.run_dir / "stage2" / "tabular"
    assert [p.name for p in checkpoints(folder / "checkpoints")] == ["step_3", "step_4"]
    assert not (folder / "export").exists()
    train_stage(broken, "stage2")
    assert_same_weights(exported(whole, "stage2/tabular"), exported(broken, "stage2/tabular"))
    assert losses(whole, "stage2/tabular") == losses(
        broken, "stage2/tabular"
    )  # no step twice, none left out


@pytest.mark.parametrize("stage", ["autoencoder", "stage1", "stage3"])
def test_every_stage_resumes_after_a_kill(tiny_run, tmp_path, stage, monkeypatch):
    """A kill -9 leaves the last checkpoint (and rows in metrics.jsonl after it)."""
    settings = {
        "modality": "report" if stage == "autoencoder" else None,
        "num_steps": 6,
        "checkpoint_every": 2,
    }
    whole, broken = (
        copy_run(tiny_run, tmp_path / folder, without=(stage, "pipeline"), **{stage: settings})
        for folder in ("whole", "broken")
    )
    train_stage(whole, stage)
    label = "autoencoder/report" if stage == "autoencoder" else stage
    process = os.fork()
    if process == 0:  # dies in step 6, before its checkpoint, as under kill -9
        monkeypatch.setattr(
            "medcodi.training.loop.EMA.update", lambda self, step: step == 6 and os._exit(9)
        )
        try:
            train_stage(broken, stage)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    assert [p.name for p in checkpoints(broken.run_dir / label / "checkpoints")] == [
        "step_2",
        "step_4",
    ]
    assert losses(broken, label)[-1][0] == 5
    with open(broken.run_dir / label / "metrics.jsonl", "a") as file:
        file.write('{"step": 6, "spl')  # a row that the kill cut short
    train_stage(broken, stage)
    assert_same_weights(exported(whole, label), exported(broken, label))
    assert losses(whole, label) == losses(broken, label)


def test_a_signal_to_the_whole_group_lets_the_readers_live(tiny_run, tmp_path):
    """As a scheduler, a terminal or torchrun sends it: worker processes that died of it would fail
    the checkpoint."""
    recipe = stage2_recipe(tiny_run, tmp_path)
    recipe.data.num_workers = 2

    def signal_group():
        subprocess.run(
            ["kill", "-TERM", "--", f"-{os.getpgrp()}"], start_new_session=True, check=True
        )
        time.sleep(0.3)  # readers that the signal ends are gone by then

    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.setsid()
            with pytest.raises(TrainingInterrupted, match="stopped at step 3"):
                fit_stage2(recipe, Hooked(Run(recipe), "tabular", 3, signal_group))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert [p.name for p in checkpoints(recipe.run_dir / "stage2" / "tabular" / "checkpoints")] == [
        "step_3"
    ]
    recipe.data.num_workers = 0
    train_stage(recipe, "stage2")
    assert [step for step, _ in losses(recipe, "stage2/tabular")] == [1, 2, 3, 4, 5, 6]


def test_script_exits_with_130_and_resumes(tiny_run, tmp_path, caplog):
    recipe = stage2_recipe(tiny_run, tmp_path, name="report", num_steps=200)
    path = write_recipe(recipe, tmp_path / "recipe.yaml")
    folder = recipe.run_dir / "stage2" / "report"
    script = [sys.executable, str(REPOSITORY / "train" / "stage2.py"), "--config", str(path)]
    process = subprocess.Popen(script, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "stage2/report step 3/" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait() == 130, rest
    assert "Traceback" not in rest and "rerun the same command to go on" in rest
    (checkpoint,) = checkpoints(folder / "checkpoints")
    step = int(checkpoint.name.split("_")[1])
    assert 3 <= step < 200
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit, match="0"):
        main(["train", "stage2", "--config", str(path), "checkpoint_every=60"])  # learns the same
    assert f"resuming {folder} at step {step}" in caplog.text
    assert (folder / "export" / "done.json").is_file()
    assert [row["step"] for row in read_metrics(folder / "metrics.jsonl")] == list(range(1, 201))


def test_finished_stage_is_skipped(tiny_run, tmp_path, caplog):
    recipe = copy_run(tiny_run, tmp_path)
    files = sorted(p for p in recipe.run_dir.glob("*/**/*") if p.is_file())
    before = {p: p.stat().st_mtime_ns for p in files}
    with caplog.at_level(logging.INFO):
        for stage in ("autoencoder", "stage1", "stage2", "stage3"):
            train_stage(recipe, stage)
    assert caplog.text.count("is complete") == 3 + 1 + 4 + 1
    assert {p: p.stat().st_mtime_ns for p in files} == before


def test_checkpoint_of_another_recipe_is_refused(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path)
    with pytest.raises(TrainingInterrupted):
        fit_stage2(
            recipe, Hooked(Run(recipe), "tabular", 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        )
    described = [
        recipe.run_dir / "stage2" / "tabular" / name for name in ("config.yaml", "environment.json")
    ]
    before = [path.read_text() for path in described]
    described[1].write_text("of the run")
    recipe.stage2.optim.lr = 0.5
    with pytest.raises(
        ValueError, match=r"step_2 was made by another recipe .*change the recipe's name"
    ):
        train_stage(recipe, "stage2")
    assert [path.read_text() for path in described] == [before[0], "of the run"]


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


def test_accumulation_of_means_over_rows_may_change(tiny_run, tmp_path):
    """As from eight GPUs to four of the same micro-batch."""
    whole, moved = (
        stage2_recipe(tiny_run, tmp_path / folder, ema_decay=0.9) for folder in ("whole", "moved")
    )
    train_stage(whole, "stage2")
    interrupted(moved, "stage2")
    moved.stage2.gradient_accumulation_steps = 2
    train_stage(moved, "stage2")
    one, two = (exported(recipe, "stage2/tabular") for recipe in (whole, moved))
    for key in one:  # see test_accumulation_equals_one_batch
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-4, msg=key)
    assert torch.cat([(one[key] - two[key]).flatten() for key in one]).abs().mean() < 1e-6


def test_refused_checkpoint_says_what_differs(tiny_run, tmp_path):
    """Stage 1: smaller micro-batches have fewer negatives."""
    recipe = copy_run(tiny_run, tmp_path, without=("stage1", "pipeline"), stage1={"num_steps": 6})
    interrupted(recipe, "stage1")
    recipe.stage1.gradient_accumulation_steps = 2
    recipe.stage1.optim.betas = [0.9, 0.95]
    match = (
        r"made by another recipe \(stage1\.gradient_accumulation_steps is 1 there, 2 here; "
        r"stage1\.optim\.betas is \[0\.9, 0\.99\] there, \[0\.9, 0\.95\] here\)"
    )
    with pytest.raises(ValueError, match=match):
        train_stage(recipe, "stage1")


@pytest.mark.parametrize(
    "settings", [{"modality": "frontal"}, {"per_modality": {"frontal": {"num_steps": 1}}}]
)
@pytest.mark.parametrize("stage", ["stage1", "stage3"])
def test_stage_without_parts_refuses_settings_of_one(tiny_run, tmp_path, stage, settings):
    recipe = copy_run(tiny_run, tmp_path, without=("pipeline",), **{stage: settings})
    (key,) = settings
    with pytest.raises(
        ValueError, match=rf"{stage} trains all modalities together.*leave out {stage}\.{key}"
    ):
        train_stage(recipe, stage)


POSITIVE = (
    "batch_size",
    "gradient_accumulation_steps",
    "log_every",
    "checkpoint_every",
    "checkpoints_kept",
)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *((key, "0", f"{key} must be at least 1, got 0") for key in POSITIVE),
        ("num_steps", "-1", "num_steps must be at least 0, got -1"),
        ("mixed_precision", "fp16", "mixed_precision must be no or bf16, got 'fp16'"),
        ("per_modality", "{tabular: {log_every: 0}}", "log_every must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, key, value, message):
    path = write_recipe(tiny_recipe(tmp_path), tmp_path / "recipe.yaml")
    with pytest.raises(ValueError, match=message):
        load_recipe(path, [f"{key}={value}"], "stage2")


@pytest.mark.parametrize("interval", [[0.8, 0.1], [0.5], [-0.1, 0.5], [0.5, 1.5]])
def test_guidance_interval_that_is_none_is_refused(interval):
    with pytest.raises(
        ValueError, match=r"modalities\.frontal\.guidance_interval must be \[low, high\]"
    ):
        get_kind("image")("frontal", {"kind": "image", "guidance_interval": interval})


def test_non_finite_loss_names_stage_and_step(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, checkpoint_every=2)

    def poison():
        with torch.no_grad():
            next(task.diffusion.denoiser.parameters()).fill_(float("nan"))

    task = Hooked(Run(recipe), "tabular", 4, poison)
    with pytest.raises(NonFiniteLossError, match=r"stage2/tabular, step 4: losses \{'loss': nan\}"):
        fit_stage2(recipe, task)
    assert [p.name for p in checkpoints(recipe.run_dir / "stage2" / "tabular" / "checkpoints")] == [
        "step_2"
    ]
    train_stage(recipe, "stage2")  # the last checkpoint is sound
    assert all(torch.isfinite(x).all() for x in exported(recipe, "stage2/tabular").values())


@pytest.fixture
def little_disk():
    """Call it to let no file grow beyond 64 KiB: the operating system refuses the write, as on a
    full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_keeps_the_last_checkpoint(tiny_run, tmp_path, little_disk):
    recipe = stage2_recipe(tiny_run, tmp_path, checkpoint_every=2)
    folder = recipe.run_dir / "stage2" / "tabular" / "checkpoints"
    match = r"step_4: the disk is full .*The last good checkpoint is step_2; free space"
    with pytest.raises(CheckpointError, match=match):
        fit_stage2(recipe, Hooked(Run(recipe), "tabular", 3, little_disk))
    assert [p.name for p in folder.iterdir()] == ["step_2"]
    assert torch.load(folder / "step_2" / "state.pt", weights_only=True)["model"]


def test_full_disk_while_exporting(tiny_run, tmp_path, little_disk):
    recipe = stage2_recipe(tiny_run, tmp_path, num_steps=4, checkpoint_every=3)
    folder = recipe.run_dir / "stage2" / "tabular"
    with pytest.raises(CheckpointError, match=r"could not write .*export.*the disk is full"):
        fit_stage2(recipe, Hooked(Run(recipe), "tabular", 4, little_disk))
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["checkpoints"]


def test_done_that_a_full_disk_emptied_is_absent(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path)
    train_stage(recipe, "stage2")
    done = recipe.run_dir / "stage2" / "tabular" / "export" / "done.json"
    whole = done.read_text()
    for text in ("", "[]", "{}", whole[:-3]):
        done.write_text(text)
        train_stage(recipe, "stage2")
        assert done.read_text() == whole
    assert [p.name for p in done.parent.glob("*.tmp")] == []


def test_done_is_written_last(tiny_run, tmp_path, monkeypatch):
    recipe = stage2_recipe(tiny_run, tmp_path)
    replace = Path.replace

    def full(path, target):
        if path.name == "done.json.tmp":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(CheckpointError, match=r"could not write .*export.*the disk is full"):
            train_stage(recipe, "stage2")
    assert not (recipe.run_dir / "stage2" / "tabular" / "export" / "done.json").exists()


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


def test_stage3_trains_only_coupling_and_environments(tiny_run):
    joint = exported(tiny_run, "stage3")
    fresh = Stage3Task(Run(tiny_run)).joint.state_dict()  # what training started from
    frozen = set()
    for name in tiny_run.modalities:
        for key, value in exported(tiny_run, f"stage2/{name}").items():
            frozen.add(f"diffusions.{name}.{key}")
            assert torch.equal(joint[f"diffusions.{name}.{key}"], value), key
    trained = {key for key in joint if key not in frozen}
    moved = {key for key in trained if not torch.equal(joint[key], fresh[key])}
    assert moved == {key for key in joint if not torch.equal(joint[key], fresh[key])}
    assert all(
        "coupling" in k or "cross_modal" in k or k.startswith("environments.") for k in trained
    )
    for name in tiny_run.modalities:
        assert any(key.startswith(f"diffusions.{name}.") for key in moved)
        assert any(key.startswith(f"environments.{name}.") for key in moved)


@pytest.mark.parametrize("name", ["frontal", "report"])
def test_accumulation_equals_one_batch(tiny_run, tmp_path, name):
    weights = []
    for accumulation in (1, 2):
        recipe = stage2_recipe(
            tiny_run, tmp_path / str(accumulation), name, gradient_accumulation_steps=accumulation
        )
        train_stage(recipe, "stage2")
        weights.append(exported(recipe, f"stage2/{name}"))
    for key in weights[
        0
    ]:  # Adam turns the rounding of a gradient near zero into a part of a step, for single numbers
        torch.testing.assert_close(weights[0][key], weights[1][key], rtol=1e-4, atol=1e-4, msg=key)
    differences = torch.cat([(weights[0][key] - weights[1][key]).flatten() for key in weights[0]])
    assert differences.abs().mean() < 1e-6


def test_stages_of_one_process_may_differ_in_precision(tiny_run, tmp_path):
    for folder, precision in (("a", "bf16"), ("b", "no")):
        recipe = stage2_recipe(tiny_run, tmp_path / folder, mixed_precision=precision)
        train_stage(recipe, "stage2")
        found = losses(recipe, "stage2/tabular")
        assert all(torch.isfinite(torch.tensor(loss)) for _, loss in found)


def test_batch_that_does_not_divide_is_refused(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, batch_size=7, gradient_accumulation_steps=2)
    with pytest.raises(
        ValueError, match=r"batch_size 7 \(global\) is not divisible by 1 processes x 2"
    ):
        train_stage(recipe, "stage2")


def test_gate_refuses_stage2_with_the_figure(tiny_run, tmp_path):
    gated = {"tabular": {"gate": 1.5}}
    recipe = copy_run(
        tiny_run, tmp_path, without=LATER, modalities=gated, stage2={"modality": "tabular"}
    )
    with pytest.raises(
        ValueError, match=r"group 'tabular' reconstructs with accuracy 0\.\d+, the gate is 1.5"
    ):
        train_stage(recipe, "stage2")
    path = recipe.run_dir / "autoencoder" / "tabular" / "export" / "config.json"
    path.write_text(json.dumps({"reconstruction": {"accuracy": float("nan")}}))
    with pytest.raises(ValueError, match="reconstructs with accuracy nan"):
        train_stage(recipe, "stage2")


def test_stages_in_the_wrong_order_are_refused(tiny_prepared, tmp_path):
    recipe = tiny_recipe(tmp_path, data={"prepared": str(tiny_prepared)})
    for stage, first in (("stage2", "autoencoder/radiograph"), ("stage3", "stage2/frontal")):
        with pytest.raises(FileNotFoundError, match=f"train '{first}' of recipe 'tiny' first"):
            train_stage(recipe, stage)
    with pytest.raises(
        ValueError, match=r"unknown stage 'stage4'\. Stages: autoencoder, stage1, stage2, stage3"
    ):
        train_stage(recipe, "stage4")
    with pytest.raises(
        ValueError, match=r"data.prepared is empty: .*data.prepared=data/my_hospital"
    ):
        train_stage(tiny_recipe(tmp_path / "b", data={"prepared": ""}), "autoencoder")


def test_stale_cache_is_computed_again(tiny_run, tmp_path, caplog):
    recipe = copy_run(tiny_run, tmp_path, without=LATER, stage2={"modality": "tabular"})
    path = recipe.run_dir / "autoencoder" / "tabular" / "export" / WEIGHTS
    weights = load_file(path)
    weights["latent_mean"] += 1.0
    save_file(weights, path)
    cache = recipe.run_dir / "cache" / "train"
    metas = {
        name: json.loads((cache / name / "meta.json").read_text()) for name in recipe.modalities
    }
    with caplog.at_level(logging.WARNING):
        data = Stage2Task(Run(recipe), "tabular").dataset("train")
    assert caplog.text.count("computing it again") == 1
    for name in recipe.modalities:
        changed = json.loads((cache / name / "meta.json").read_text())["key"] != metas[name]["key"]
        assert changed == (name == "tabular")
    run = Run(recipe)
    present = data.caches["tabular"].present.nonzero()[0]
    values = run.family.modality("tabular").collate(
        [s.values["tabular"] for s in run.data("train", ["tabular"]).batch(present[:4])]
    )
    autoencoder = load_module(run.family.build_autoencoder("tabular"), path.parent)
    torch.testing.assert_close(
        data[[0, 1, 2, 3]].latents["tabular"], autoencoder.encode(values), rtol=1e-4, atol=1e-4
    )


def test_run_folder_tells_what_was_run(tiny_run):
    folder = tiny_run.run_dir / "stage2" / "frontal"
    described = json.loads((folder / "environment.json").read_text())
    assert {"python", "packages", "git_commit", "device", "num_processes"} <= described.keys()
    assert (folder / "config.yaml").is_file()
    rows = read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all({"loss", "lr", "sec_per_step", "split"} <= row.keys() for row in rows)


def test_git_is_not_needed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment(torch.device("cpu"), 1)["git_commit"] is None


def test_previews_are_drawn(tiny_run, tmp_path):
    recipe = stage2_recipe(tiny_run, tmp_path, preview_every=6, validate_every=3)
    train_stage(recipe, "stage2")
    folder = recipe.run_dir / "stage2" / "tabular"
    assert [p.name for p in (folder / "previews").iterdir()] == ["step_6.png"]
    splits = [(row["step"], row["split"]) for row in read_metrics(folder / "metrics.jsonl")]
    assert splits.count((3, "validation")) == splits.count((6, "validation")) == 1
