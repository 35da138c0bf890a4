"""What jointly generated outputs add to each other's mean, under guidance."""

import copy

import pytest
import torch

from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.sampler import GuidedPrediction
from tests.networks import normal

OUTPUTS, PROMPT = ("frontal", "report"), "lateral"


@pytest.fixture
def models(tiny_pipeline):
    """Trained a little more than the tiny pipeline: its partner means say something."""
    models = {name: copy.deepcopy(tiny_pipeline.diffusions[name]) for name in OUTPUTS}
    for model in models.values():
        model.partner_mean.requires_grad_(False)
        for parameter in model.partner_mean.mean.parameters():
            parameter.add_(0.1 * normal(*parameter.shape))
        for parameter in model.denoiser.coupling_parameters():
            parameter.requires_grad_(False).zero_()  # the attention is guided as prompts are
    return models


def predictions(pipe, models, guidance, told):
    family = pipe.family
    shape = family.latent_shape(family.modality(PROMPT).group)
    with torch.no_grad():
        encoding = pipe.encoders[family.modality(PROMPT).group](normal(2, 1, 16, 16).sigmoid())
        encoding.latents = normal(2, *shape, seed=3)
        prompts = Prompts({PROMPT: encoding}, {PROMPT: torch.ones(2, dtype=torch.bool)})
        latents = {
            n: normal(2, *family.latent_shape(family.modality(n).group), seed=i)
            for i, n in enumerate(OUTPUTS)
        }
        timesteps, scales = (dict.fromkeys(OUTPUTS, x) for x in (torch.tensor(400.0), guidance))
        joint = JointModel(models, pipe.environments if told else None, family.objective)
        return GuidedPrediction(joint, prompts, scales)(latents, timesteps)


@pytest.mark.parametrize("guidance", [0.0, 3.0])
def test_partners_add_to_a_guided_output_as_to_a_plain_one(tiny_pipeline, models, guidance):
    """Both passes of guidance see what partners say beside the prompts. Guided as well, it would be
    (1 - g) times what they say without prompts, which is more than with them."""
    seen = {}
    for model in models.values():
        model.denoiser.register_forward_hook(
            lambda module, args, kwargs, out: seen.setdefault(module, []).append(
                kwargs["estimate"].clone()
            ),
            with_kwargs=True,
        )
    for told in (True, False):
        predictions(tiny_pipeline, models, guidance, told)
    for with_partners, alone in seen.values():
        null, prompted = (with_partners - alone).chunk(2)
        assert prompted.abs().max() > 1e-3
        torch.testing.assert_close(null, prompted)
