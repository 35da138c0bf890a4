"""The closed form as a latent diffusion model uses it."""

import pytest
import torch

from medcodi.config import DiffusionConfig
from medcodi.diffusion.closed_form import ClosedForm
from medcodi.diffusion.denoisers.vector import VectorDenoiser
from medcodi.diffusion.ldm import LatentDiffusion, Partners
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import OBJECTIVES, build_objective
from tests.diffusion.closed_form.parts import SHAPE, WIDTHS, rows


@pytest.mark.parametrize("prediction_type", list(OBJECTIVES))
def test_the_network_predicts_what_the_linear_denoiser_leaves_over(fitted, prediction_type):
    """A network that says 0 leaves the linear prediction; what partners add changes the estimate of
    z_0 by just that."""
    objective = build_objective(DiffusionConfig(prediction_type=prediction_type))
    _, prompts, available, _ = rows(seed=2)
    prompts, keep = {n: e[:4] for n, e in prompts.items()}, available[:4]
    fusion = PromptFusion("tokens", {"a": 2, "b": 2}, 4, 8)
    fusion.summaries = torch.nn.ModuleDict(
        {n: torch.nn.Linear(e, 8) for n, (e, _) in WIDTHS.items()}
    )
    network = VectorDenoiser(SHAPE, 8, width=8, depth=1, num_heads=2, estimate=True)
    torch.nn.init.zeros_(network.output.weight)
    torch.nn.init.zeros_(network.output.bias)
    model, timesteps = (
        LatentDiffusion(fusion, network, objective, ClosedForm(fitted[0], objective)),
        torch.tensor([10.0, 300.0, 500.0, 990.0]),
    )
    mean, noise, innovation = (
        fitted[0].mean(prompts, keep),
        torch.randn(4, *SHAPE),
        torch.randn(4, *SHAPE),
    )
    alpha, sigma = objective.alpha_sigma(timesteps)
    noisy = objective.add_noise(mean, noise, timesteps)
    signal, _ = fitted[0](sigma.view(-1, 1, 1) * noise, alpha, sigma, keep)
    estimate = objective.to_sample(
        model(noisy, timesteps, model.context(prompts, keep)), noisy, timesteps
    )
    torch.testing.assert_close(estimate, mean + signal, atol=2e-3, rtol=1e-3)
    nobody = torch.zeros(4, 1, dtype=torch.bool)
    told = Partners(torch.zeros(4, 1, 8), nobody, nobody, innovation)
    shifted = model(noisy, timesteps, model.context(prompts, keep), told)
    torch.testing.assert_close(
        objective.to_sample(shifted, noisy, timesteps), estimate + innovation, atol=5e-3, rtol=1e-3
    )
