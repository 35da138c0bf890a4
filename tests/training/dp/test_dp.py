"""A private stage 2 from its first step to its export: budget, resume, refusals."""

import json
import shutil

import pytest
from torch import nn

from medcodi.config_io import for_modality
from medcodi.export import assemble
from medcodi.nn.weights import load_config
from medcodi.pipeline import MedCoDiPipeline
from medcodi.training.checkpoint import checkpoints
from medcodi.training.dp.secret import FILE
from medcodi.training.dp.statement import statement
from medcodi.training.loop import fit
from medcodi.training.run import Run
from medcodi.training.starting import STARTED
from medcodi.training.tasks import train_stage
from medcodi.training.tasks.stage2 import Stage2Task
from tests.tiny import copy_run
from tests.training.dp.parts import DP, private_run
from tests.training.parts import assert_same_weights, exported, interrupted

LABEL = "stage2/tabular"
pytest.importorskip("opacus")


@pytest.fixture(scope="module")
def done(tiny_run, tmp_path_factory):
    recipe = private_run(tiny_run, tmp_path_factory.mktemp("dp"), ema_decay=0.5)
    train_stage(recipe, "stage2")
    return recipe


def with_key_of(done, recipe):
    folder = recipe.run_dir / LABEL
    folder.mkdir(parents=True)
    shutil.copy(done.run_dir / LABEL / FILE, folder / FILE)
    return recipe


def test_the_export_says_what_was_spent(done):
    told = load_config(done.run_dir / LABEL / "export")["dp"]
    assert told["steps"] == 6 and told["unit"] == "patient" and 0.5 < told["epsilon"] < 20
    assert told["sample_rate"] == 8 / told["rows"] and told["noise_multiplier"] == 1.0
    for path in (done.run_dir / LABEL / "export").iterdir():
        assert json.loads((done.run_dir / LABEL / FILE).read_text())["key"] not in str(
            path.read_bytes()
        )


def test_a_resumed_run_equals_one_that_was_not_stopped(done, tiny_run, tmp_path):
    settings = {"ema_decay": 0.5, "gradient_accumulation_steps": 2}  # virtual steps change nothing
    recipe = with_key_of(done, private_run(tiny_run, tmp_path, **settings))
    interrupted(recipe, "stage2")
    meta = json.loads(
        (checkpoints(recipe.run_dir / LABEL / "checkpoints")[-1] / "meta.json").read_text()
    )
    assert meta["identity"]["dp"]["steps"] == meta["step"] == 3
    train_stage(recipe, "stage2")
    found = [load_config(r.run_dir / LABEL / "export")["dp"] for r in (done, recipe)]
    assert found[0] == found[1] and found[0]["epsilon"] > meta["identity"]["dp"]["epsilon"]


def test_resumed_weights_are_the_same_to_the_bit(done, tiny_run, tmp_path):
    recipe = with_key_of(done, private_run(tiny_run, tmp_path, ema_decay=0.5))
    interrupted(recipe, "stage2")
    train_stage(recipe, "stage2")
    assert_same_weights(exported(done, LABEL), exported(recipe, LABEL))


def test_another_key_makes_other_weights(done, tiny_run, tmp_path):
    recipe = private_run(tiny_run, tmp_path, ema_decay=0.5)
    train_stage(recipe, "stage2")
    one, two = exported(done, LABEL), exported(recipe, LABEL)
    assert any(not one[name].equal(two[name]) for name in one)


def test_a_stage_that_lost_its_key_does_not_go_on(tiny_run, tmp_path):
    recipe = private_run(tiny_run, tmp_path)
    interrupted(recipe, "stage2")
    key = recipe.run_dir / LABEL / FILE
    assert key.stat().st_mode & 0o077 == 0
    key.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="cannot go on without its key"):
        train_stage(recipe, "stage2")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optim": {"name": "muon"}}, "muon gives noise the size of a signal; use adamw"),
        ({"gradient_checkpointing": True}, "gradient_checkpointing cannot be combined"),
        ({"dp": {**DP, "delta": 0.5}}, "dp.delta 0.5 is above 1 /"),
    ],
)
def test_what_cannot_be_private_is_refused(tiny_run, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        train_stage(private_run(tiny_run, tmp_path, **settings), "stage2")


def test_batch_norm_is_refused(tiny_run, tmp_path):
    recipe = private_run(tiny_run, tmp_path)
    task = Stage2Task(Run(recipe), "tabular")
    task.normed = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="BatchNorm mixes the rows"):
        fit(task, for_modality(recipe.stage2, "tabular"), recipe)


def test_other_stages_are_refused(tiny_run, tmp_path):
    recipe = copy_run(tiny_run, tmp_path, without=("stage1", "stage2", "stage3"), stage1={"dp": DP})
    with pytest.raises(ValueError, match="stage1 cannot train with dp: leave it out"):
        train_stage(recipe, "stage1")


def test_the_model_card_says_the_budget_and_what_has_none(tiny_run, tmp_path):
    recipe = private_run(tiny_run, tmp_path, name=None, per_modality={"report": {"num_steps": 0}})
    recipe.stage2.num_steps = 2
    for name in ("frontal", "lateral"):
        recipe.stage2.per_modality[name] = {"num_steps": 0, "dp": None}
    recipe.stage2.per_modality["report"]["dp"] = None
    train_stage(recipe, "stage2")
    folder = assemble(recipe)
    pipe = MedCoDiPipeline.from_pretrained(folder)
    assert "privacy: tabular (epsilon" in pipe.facts.privacy
    assert "has NO guarantee" in pipe.facts.privacy and "stage1" in pipe.facts.privacy
    assert pipe.facts.privacy in (folder / "README.md").read_text()
    # the same parts, trained on other data
    for label in (
        "autoencoder/radiograph",
        "autoencoder/report",
        "autoencoder/tabular",
        "stage1",
        "stage2/frontal",
        "stage2/lateral",
        "stage2/report",
    ):
        path = recipe.run_dir / label / "export" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"data": "public"}))
    said = statement(Run(recipe), joint=False)
    assert "All other networks were trained on other data" in said and "NO guar" not in said
    assert "stage3. The pipeline as a whole has NO" in statement(Run(recipe), joint=True)
    # a private part that started from other weights
    own = json.loads((recipe.run_dir / "stage2/tabular/export/config.json").read_text())["data"]
    for data, told in (
        (own, "what stage2/tabular started from. The pipeline as a whole has NO"),
        ("", "stage2/tabular started from weights whose data are not known"),
    ):
        source = {"x": {"pipeline": "0", "data": data}}
        (recipe.run_dir / "stage2/tabular" / STARTED).write_text(json.dumps(source))
        assert told in statement(Run(recipe), joint=False)
    source = {"x": {"pipeline": "0", "data": "public"}}
    (recipe.run_dir / "stage2/tabular" / STARTED).write_text(json.dumps(source))
    assert statement(Run(recipe), joint=False) == said
