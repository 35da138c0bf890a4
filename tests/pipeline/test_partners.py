"""What jointly generated outputs tell each other in closed form, under guidance."""

import pytest
import torch

from medcodi.diffusion.joint import JointModel, Prompts
from medcodi.diffusion.sampler import GuidedPrediction
from tests.networks import normal


def predictions(pipe, guidance, closed_form, outputs=("frontal", "report"), prompt="lateral"):
    models = {name: pipe.diffusions[name] for name in outputs}
    family, kept = pipe.family, {name: model.closed_form.coupling for name, model in models.items()}
    shape = family.latent_shape(family.modality(prompt).group)
    with torch.no_grad():
        encoding = pipe.encoders[family.modality(prompt).group](normal(2, 1, 16, 16).sigmoid())
        encoding.latents = normal(2, *shape, seed=3)
        prompts = Prompts({prompt: encoding}, {prompt: torch.ones(2, dtype=torch.bool)})
        latents = {
            n: normal(2, *family.latent_shape(family.modality(n).group), seed=i)
            for i, n in enumerate(outputs)
        }
        try:
            for name, model in models.items():
                model.closed_form.coupling = kept[name] if closed_form else None
            timesteps, scales = (
                dict.fromkeys(outputs, torch.tensor(400.0)),
                dict.fromkeys(outputs, guidance),
            )
            joint = JointModel(models, pipe.environments, family.objective)
            return GuidedPrediction(joint, prompts, scales)(latents, timesteps)
        finally:
            for name, model in models.items():
                model.closed_form.coupling = kept[name]


@pytest.mark.parametrize("guidance", [0.0, 3.0])
def test_guidance_leaves_the_share_of_partners_alone(tiny_pipeline, guidance):
    """Guided as well, it would be (1 - g) times what partners say without prompts, which is more
    than with them."""
    shares = []
    for scale in (1.0, guidance):
        with_partners, alone = (
            predictions(tiny_pipeline, scale, closed_form) for closed_form in (True, False)
        )
        shares.append({name: with_partners[name] - alone[name] for name in alone})
    for name, share in shares[0].items():
        assert share.abs().max() > 1e-3
        torch.testing.assert_close(shares[1][name], share, atol=1e-4, rtol=1e-3)
