"""What is kept, in the latents: held all along the way, whatever the objective and the solver."""

import pytest
import torch

from medcodi.diffusion.keep import Kept, KeptPredictions
from medcodi.pipeline.solvers import build_solver
from tests.networks import normal, objective

SHAPE = (2, 4, 4)


def kept_left_half(start: float = 1.0, rows: int = 2) -> Kept:
    given = torch.zeros(rows, *SHAPE, dtype=torch.bool)
    given[..., :2] = True
    return kept(normal(rows, *SHAPE, seed=5), given, start)


def kept(latents: torch.Tensor, given: torch.Tensor, start: float = 1.0, **changes) -> Kept:
    rows = torch.arange(len(latents))
    whole = torch.full((len(latents),), start)
    changes = {"move": None, "follow": False} | changes
    return Kept(latents, given, whole, torch.ones_like(rows).bool(), rows, **changes)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow"])
def test_to_prediction_is_the_inverse_of_to_sample(kind):
    of = objective(kind)
    clean, noisy, t = normal(3, *SHAPE), normal(3, *SHAPE, seed=1), torch.tensor([20.0, 500, 999])
    prediction = of.to_prediction(clean, noisy, t)
    torch.testing.assert_close(of.to_sample(prediction, noisy, t), clean, rtol=1e-3, atol=1e-3)
    noise = normal(3, *SHAPE, seed=2)
    exact = of.to_prediction(clean, of.add_noise(clean, noise, t), t)
    torch.testing.assert_close(exact, of.target(clean, noise, t), rtol=1e-3, atol=1e-3)


def sampled(kind, solver, of_x, predict=lambda z, t, names: {"x": torch.tanh(z["x"])}, steps=8):
    """(latents at the end, [(timestep, z_t)])"""
    of, noise = objective(kind), normal(2, *SHAPE, seed=9)
    scheduler = build_solver(solver, of.scheduler())
    scheduler.set_timesteps(steps)
    predictions = KeptPredictions(predict, {} if of_x is None else {"x": of_x}, of)
    z, way = noise * getattr(scheduler, "init_noise_sigma", 1.0), []
    for t in scheduler.timesteps:
        seen = z
        if hasattr(scheduler, "scale_model_input"):
            seen = scheduler.scale_model_input(z, t)
        way.append((t, seen))
        z = scheduler.step(predictions({"x": seen}, {"x": t})["x"], t, z).prev_sample
    return z, way


WAYS = [("flow", "euler"), ("flow", "dpm++"), ("v_prediction", "ddim"), ("epsilon", "unipc")]


@pytest.mark.parametrize(("kind", "solver"), WAYS)
def test_given_latents_carry_the_samplers_own_noise_all_along(kind, solver):
    half, of = kept_left_half(), objective(kind)
    end, way = sampled(kind, solver, half)
    left = (..., slice(0, 2))
    torch.testing.assert_close(end[left], half.latents[left], rtol=0.1, atol=0.1)  # DDIM's rest
    alpha, sigma = of.alpha_sigma(way[0][0].reshape(1))
    noise = (way[0][1] - alpha * half.latents) / sigma
    for t, z in way[1:]:
        expected = of.add_noise(half.latents, noise, t.expand(2))
        torch.testing.assert_close(z[left], expected[left], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("kind", "solver"), WAYS)
def test_what_is_not_given_is_generated_as_ever(kind, solver):
    plain, _ = sampled(kind, solver, None)
    end, _ = sampled(kind, solver, kept_left_half())
    assert torch.equal(end[..., 2:], plain[..., 2:])  # this prediction is elementwise
    nothing = kept(normal(2, *SHAPE), torch.zeros(2, *SHAPE).bool())
    assert torch.equal(sampled(kind, solver, nothing)[0], plain)


def test_a_strength_begins_with_the_noised_value():
    whole_value = kept_left_half(start=0.5)
    whole_value.given = torch.zeros_like(whole_value.given)
    end, way = sampled("flow", "euler", whole_value)
    noise, of = normal(2, *SHAPE, seed=9), objective("flow")
    for t, z in way:
        if t >= 500:
            expected = of.add_noise(whole_value.latents, noise, t.expand(2))
            torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(end, whole_value.latents, atol=0.1)
    whole, _ = sampled("flow", "euler", None)
    assert not torch.allclose(end, whole, atol=0.1)


def test_rows_keep_their_own():
    half = kept_left_half()
    half.given[1] = False
    swapped = half[torch.tensor([1, 0])]
    assert torch.equal(swapped.latents, half.latents.flip(0))
    both, _ = sampled("flow", "euler", half)
    plain, _ = sampled("flow", "euler", None)
    assert torch.equal(both[1], plain[1]) and not torch.equal(both[0], plain[0])


RHO, FIRST = 0.8, 1.5
COVARIANCE = torch.tensor([[1.0, RHO], [RHO, 1.0]])


def conditional(follow: bool, moved: bool, rows: int = 1000) -> torch.Tensor:
    """(rows, 2) samples of a correlated Gaussian, by its exact denoiser, of which the first number
    is kept: as a given latent, or by moving the estimate to it."""
    of = objective("flow")

    def predict(latents, timesteps, names):
        z, t = latents["x"], timesteps["x"].expand(rows)
        alpha, sigma = (x[0] for x in of.alpha_sigma(t))
        inverse = torch.linalg.inv(alpha**2 * COVARIANCE + sigma**2 * torch.eye(2))
        return {"x": of.to_prediction(z @ (alpha * COVARIANCE @ inverse).T, z, t)}

    given, whole = torch.zeros(rows, 2, dtype=torch.bool), torch.full((rows, 2), FIRST)
    given[:, 0] = not moved
    move = (lambda z, _: torch.stack([FIRST - z[:, 0], 0 * z[:, 1]], dim=1)) if moved else None
    scheduler = build_solver("euler", of.scheduler())
    scheduler.set_timesteps(25)
    parts = {"x": kept(whole, given, move=move, follow=follow)}
    predictions, z = KeptPredictions(predict, parts, of), normal(rows, 2)
    for t in scheduler.timesteps:
        z = scheduler.step(predictions({"x": z}, {"x": t})["x"], t, z).prev_sample
    return z


@pytest.mark.parametrize("moved", [False, True])
def test_the_rest_follows_as_the_true_conditional_does(moved):
    """Mean rho a, standard deviation sqrt(1 - rho^2); without the gradient less than half of it
    follows."""
    first, second = conditional(follow=True, moved=moved).T
    assert first.mean() == pytest.approx(FIRST, abs=0.05)
    assert second.mean() == pytest.approx(RHO * FIRST, rel=0.15)
    assert second.std() == pytest.approx((1 - RHO**2) ** 0.5, rel=0.15)
    assert conditional(follow=False, moved=moved)[:, 1].mean() < 0.6 * RHO * FIRST
