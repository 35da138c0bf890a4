"""The denoiser of vector latents: with `across`, what lies across all slots is learned although the
linear part is known."""

import pytest
import torch

from medcodi.diffusion.denoisers.vector import VectorDenoiser

SLOTS, CHANNELS, SIGMA, ROWS = 4, 4, 0.7, 256


def two_modes(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """z_0 = s u + .3 e with s = +1 or -1 and u spread over all slots, and its noisy version z_0 +
    sigma e'; (B, N, C)."""
    source = torch.Generator().manual_seed(seed)
    direction = torch.randn(SLOTS, CHANNELS, generator=torch.Generator().manual_seed(99))
    direction *= 4 / direction.norm()  # of unit size in each number
    sign = 2.0 * torch.randint(2, (ROWS, 1, 1), generator=source) - 1
    clean = sign * direction + 0.3 * torch.randn(ROWS, SLOTS, CHANNELS, generator=source)
    return clean, clean + SIGMA * torch.randn(ROWS, SLOTS, CHANNELS, generator=source)


def linear_estimate(noisy: torch.Tensor) -> torch.Tensor:
    """Of the Gaussian with the covariance of many rows."""
    clean = torch.cat([two_modes(seed)[0] for seed in range(1000, 1020)]).flatten(1)
    covariance = clean.T @ clean / len(clean)
    return (
        noisy.flatten(1)
        @ torch.linalg.solve(covariance + SIGMA**2 * torch.eye(len(covariance)), covariance)
    ).view_as(noisy)


def residual_after(across: bool, steps: int = 60) -> float:
    """Share of the error of the linear estimate that a trained network leaves, on rows it has not
    seen."""
    torch.manual_seed(0)
    network = VectorDenoiser(
        (SLOTS, CHANNELS), 8, width=32, depth=3, num_heads=2, estimate=True, across=across
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    context, mask, timesteps = (
        torch.zeros(ROWS, 1, 8),
        torch.ones(ROWS, 1, dtype=torch.bool),
        torch.full((ROWS,), 500.0),
    )

    def errors(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        clean, noisy = two_modes(seed)
        estimate = linear_estimate(noisy)
        left = clean - estimate
        return (
            network(noisy, timesteps, context, mask, estimate=estimate) - left
        ).square().mean(), left.square().mean()

    for step in range(steps):
        errors(step)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        error, linear = errors(5000)
    return float(error / linear)


def test_two_modes_across_slots_are_told_apart():
    """After as many steps the layers that see a slot at a time leave .97."""
    assert residual_after(across=True) < 0.9


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("estimate", [False, True])
def test_shapes_and_the_first_prediction(across, estimate):
    network = VectorDenoiser(
        (3, 5), 8, width=16, depth=3, num_heads=2, estimate=estimate, across=across
    )
    latents, guess = torch.randn(2, 3, 5), torch.randn(2, 3, 5) if estimate else None
    out = network(
        latents,
        torch.tensor([3.0, 900.0]),
        torch.randn(2, 4, 8),
        torch.ones(2, 4, dtype=torch.bool),
        estimate=guess,
    )
    assert out.shape == latents.shape
    assert bool(out.any()) == estimate  # without the linear part a denoiser starts at 0


def test_across_sees_every_slot_in_its_first_layer():
    network = VectorDenoiser((3, 5), 8, width=16, depth=1, num_heads=2, across=True)
    latents = torch.randn(1, 3, 5, requires_grad=True)
    network.input(latents)[0, 0].sum().backward()
    assert (latents.grad[0] != 0).all()


def test_the_summary_reaches_the_vector_denoiser_without_attention():
    torch.manual_seed(0)
    denoiser = VectorDenoiser((4, 3), 12, width=16, depth=3, num_heads=2, summary=True)
    for parameter in denoiser.parameters():  # zero-initialised ends would hide everything
        torch.nn.init.normal_(parameter, std=0.2)
    for block in denoiser.blocks:
        torch.nn.init.zeros_(block.context_attention.to_out.weight)
    mask = torch.ones(3, 2, dtype=torch.bool)
    arguments = torch.randn(3, 4, 3), torch.full((3,), 500.0)
    one, other = (denoiser(*arguments, torch.full((3, 2, 12), value), mask) for value in (0.0, 1.0))
    assert (one - other).abs().max() > 1e-3


def test_an_even_depth_has_no_middle():
    with pytest.raises(ValueError, match=r"depth must be odd .* got 4"):
        VectorDenoiser((2, 3), context_dim=8, depth=4)
