"""A pipeline's networks as the start of every stage of another run."""

import json

import pytest
import torch

from medcodi.config import STAGES
from medcodi.export import assemble
from medcodi.pipeline import MedCoDiPipeline
from medcodi.start import start_from_pipeline
from medcodi.training.run import Run
from medcodi.training.starting import STARTED
from medcodi.training.tasks import train_stage
from medcodi.training.tracking import read_metrics
from tests.tiny import STAGE, tiny_recipe

MEASURED = ("latent_mean", "latent_std")  # on the data at hand


@pytest.fixture(scope="module")
def given(tiny_run):
    return MedCoDiPipeline.from_pretrained(tiny_run.run_dir / "pipeline")


@pytest.mark.parametrize("adversarial_weight", [0.0, 0.01])
def test_a_decoder_trains_on_alone(given, tiny_prepared, tmp_path, adversarial_weight):
    recipe = recipe_of(tmp_path, tiny_prepared, autoencoder=STAGE)
    for name in ("frontal", "lateral"):
        changed = {"train_encoder": False, "adversarial_weight": adversarial_weight}
        recipe.modalities[name]["autoencoder"] |= changed
    recipe.autoencoder.modality = "frontal"
    recipe.autoencoder.optim.weight_decay = 0.1
    with pytest.raises(ValueError, match=r"weight_decay: 0, got 0.1, which would move the encoder"):
        start_from_pipeline(recipe, "autoencoder", given, "given")
    recipe.autoencoder.optim.weight_decay = 0.0
    start_from_pipeline(recipe, "autoencoder", given, "given")
    train_stage(recipe, "autoencoder")
    after = Run(recipe).autoencoder("radiograph").state_dict()
    before = given.components["autoencoder"]["radiograph"].state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])} - set(MEASURED)
    assert moved and all("decoder" in key or "post_quant" in key for key in moved)
    row = read_metrics(recipe.run_dir / "autoencoder/radiograph/metrics.jsonl")[0]
    assert ("discriminator" in row) == (adversarial_weight > 0)


def recipe_of(folder, tiny_prepared, **changed):
    stages = {stage: STAGE | {"num_steps": 0} for stage in STAGES}
    return tiny_recipe(folder, data={"prepared": str(tiny_prepared)}, **(stages | changed))


def test_every_stage_starts_from_the_pipeline(given, tiny_prepared, tmp_path):
    """Without steps, the run's pipeline is the one that it started from; with steps it is not."""
    recipe = recipe_of(tmp_path, tiny_prepared, stage3=STAGE)
    for stage in STAGES:
        start_from_pipeline(recipe, stage, given, "given")
        train_stage(recipe, stage)
    made = MedCoDiPipeline.from_pretrained(assemble(recipe))
    moved = set()
    for kind, modules in made.components.items():
        for name, module in modules.items():
            before = given.components[kind][name].state_dict()
            for key, value in module.state_dict().items():
                if not key.endswith(MEASURED) and not torch.equal(value, before[key]):
                    moved.add((kind, "cross_modal" in key or "partner_mean" in key))
    assert moved == {("environment", False), ("diffusion", True)}  # what stage 3 trains
    (source,) = json.loads((recipe.run_dir / "stage3" / STARTED).read_text()).items()
    assert source == ("given", {"pipeline": given.model_hash, "data": given.facts.data_hash})


def test_a_stage_that_has_begun_goes_on(given, tiny_prepared, tmp_path):
    recipe = recipe_of(tmp_path, tiny_prepared)
    assert len(start_from_pipeline(recipe, "stage1", given, "given")) == 1
    assert start_from_pipeline(recipe, "stage1", given, "given") == []


def test_networks_of_other_sizes_and_runs_with_other_tokenizers_are_refused(
    given, tiny_prepared, tmp_path
):
    wide = recipe_of(tmp_path, tiny_prepared, shared_space={"embed_dim": 24})
    with pytest.raises(ValueError, match=r"given does not fit this recipe.*Other shapes"):
        start_from_pipeline(wide, "stage1", given, "given")
    assert not (wide.run_dir / "assets.json").exists()  # a later run fits its own
    (wide.run_dir / "assets.json").write_text(json.dumps({"report": {}, "tabular": {}}))
    with pytest.raises(ValueError, match="other tokenizers or another table schema than given"):
        start_from_pipeline(wide, "stage1", given, "given")


def test_a_network_that_the_pipeline_lacks_is_named_and_nothing_has_begun(
    given, tiny_prepared, tmp_path
):
    recipe = recipe_of(tmp_path, tiny_prepared)
    recipe.modalities["lateral"]["group"] = "lateral"
    recipe.modalities["frontal"]["group"] = "other"
    with pytest.raises(ValueError, match=r"given has no network of '(other|lateral)' for autoenc"):
        start_from_pipeline(recipe, "autoencoder", given, "given")
    assert (
        not list(recipe.run_dir.rglob("step_0")) and not (recipe.run_dir / "assets.json").exists()
    )
