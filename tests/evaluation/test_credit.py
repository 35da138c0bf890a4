"""Parts of a pipeline are switched off in a copy, exactly, and the figures say which part gave
what."""

import copy

import pytest
import torch

from medcodi.config import EvaluationConfig
from medcodi.config_io import build_dataclass
from medcodi.evaluation import EvaluationContext
from medcodi.evaluation.credit import (
    NO_ATTENTION,
    NO_PARTNER_MEAN,
    OWN_CODES,
    TRAINED,
    VARIANTS,
    ZEROED,
    credit_rows,
    markdown,
)
from medcodi.evaluation.credit import switched as switch


@pytest.fixture
def coupled(tiny_pipeline):
    """The tiny pipeline with an attention and a partner mean that say something."""
    for model in tiny_pipeline.diffusions.values():
        for parameter in model.coupling_parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return tiny_pipeline


def _joint(pipe, together: bool, partner: str = "frontal") -> torch.Tensor:
    out = pipe(
        outputs=[partner, "report"],
        num_inference_steps=2,
        num_images_per_prompt=2,
        seeds=[1, 2],
        coupled=together,
    )
    return out.latents["report"]


def test_with_its_own_code_an_output_knows_no_partner(coupled):
    own = switch(coupled, OWN_CODES)
    report = _joint(own, True)
    assert torch.equal(report, _joint(own, True, "lateral"))
    assert not torch.equal(report, _joint(own, False))  # it is not independent generation either
    assert not torch.equal(_joint(coupled, True), _joint(coupled, True, "lateral"))


@pytest.mark.parametrize("variant", [NO_ATTENTION, NO_PARTNER_MEAN])
def test_one_part_alone_is_switched_off(coupled, variant):
    before = _joint(coupled, True)
    off = switch(coupled, variant)
    changed, kept = off.diffusions["report"], coupled.diffusions["report"]
    own = changed.denoiser.coupling_parameters()
    own = own if variant == NO_ATTENTION else list(changed.partner_mean.parameters())
    assert own and all(not p.any() for p in own)
    zeroed = {id(p) for p in own}
    for (name, new), (_, old) in zip(
        changed.named_parameters(), kept.named_parameters(), strict=True
    ):
        assert id(new) in zeroed or torch.equal(new, old), name
    assert not torch.equal(_joint(off, True), before)
    assert torch.equal(_joint(coupled, True), before)  # the pipeline itself is as it was


def test_zeroed_networks_predict_nothing_of_their_own(coupled):
    still = switch(coupled, ZEROED)
    for name, model in still.diffusions.items():
        shape = still.family.latent_shape(still.family.modality(name).group)
        latents = torch.randn(2, *shape)
        assert not model.denoiser(latents, torch.tensor([500.0, 500.0]), None, None).any()
    assert _joint(still, True).shape == _joint(coupled, True).shape


def test_unknown_variants_name_those_that_there_are(coupled):
    assert switch(coupled, TRAINED) is coupled
    with pytest.raises(ValueError, match="attention off"):
        switch(coupled, "attention of")


@pytest.fixture(scope="module")
def context(tiny_run, tmp_path_factory):
    recipe = copy.deepcopy(tiny_run)
    settings = {
        "num_studies": 6,
        "num_training_studies": 30,
        "num_resamples": 10,
        "num_inference_steps": 2,
    }
    recipe.evaluation = build_dataclass(EvaluationConfig, settings, "evaluation")
    return EvaluationContext(recipe, tmp_path_factory.mktemp("credit"))


def test_every_route_has_a_figure_for_every_variant(context):
    rows = credit_rows(context, ["F>T", "FT>table"], ["F>LT"])
    assert {row["route"] for row in rows} == {"F>T", "FT>table", "F>LT, jointly"}
    for row in rows:
        assert set(VARIANTS) <= set(row)
        assert ("independent" in row) == ("pair" in row)
    text = markdown(rows)
    assert len(text.splitlines()) == len(rows) + 2 and ZEROED in text.splitlines()[0]


def test_wrong_routes_and_settings_are_refused_before_anything_is_generated(context):
    with pytest.raises(ValueError, match="a route reads as"):
        credit_rows(context, ["F>F"], [])
    with pytest.raises(ValueError, match="T>FL"):
        credit_rows(context, [], ["T>LF"])
