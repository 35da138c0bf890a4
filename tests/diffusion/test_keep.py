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
    return Kept(normal(rows, *SHAPE, seed=5), given, torch.full((rows,), start))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow"])
def test_to_prediction_is_the_inverse_of_to_sample(kind):
    of = objective(kind)
    clean, noisy, t = normal(3, *SHAPE), normal(3, *SHAPE, seed=1), torch.tensor([20.0, 500, 999])
    prediction = of.to_prediction(clean, noisy, t)
    torch.testing.assert_close(of.to_sample(prediction, noisy, t), clean, rtol=1e-3, atol=1e-3)
    noise = normal(3, *SHAPE, seed=2)
    exact = of.to_prediction(clean, of.add_noise(clean, noise, t), t)
    torch.testing.assert_close(exact, of.target(clean, noise, t), rtol=1e-3, atol=1e-3)


def sampled(kind, solver, kept, predict=lambda z, t: {"x": torch.tanh(z["x"])}, steps=8):
    """(latents at the end, [(timestep, z_t)])"""
    of, noise = objective(kind), normal(2, *SHAPE, seed=9)
    scheduler = build_solver(solver, of.scheduler())
    scheduler.set_timesteps(steps)
    predictions = KeptPredictions(predict, {} if kept is None else {"x": kept}, of)
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
    kept, of = kept_left_half(), objective(kind)
    end, way = sampled(kind, solver, kept)
    left = (..., slice(0, 2))
    torch.testing.assert_close(end[left], kept.latents[left], rtol=0.1, atol=0.1)  # DDIM's rest
    alpha, sigma = of.alpha_sigma(way[0][0].reshape(1))
    noise = (way[0][1] - alpha * kept.latents) / sigma
    for t, z in way[1:]:
        expected = of.add_noise(kept.latents, noise, t.expand(2))
        torch.testing.assert_close(z[left], expected[left], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(("kind", "solver"), WAYS)
def test_what_is_not_given_is_generated_as_ever(kind, solver):
    plain, _ = sampled(kind, solver, None)
    end, _ = sampled(kind, solver, kept_left_half())
    assert torch.equal(end[..., 2:], plain[..., 2:])  # this prediction is elementwise
    nothing = Kept(normal(2, *SHAPE), torch.zeros(2, *SHAPE).bool(), torch.ones(2))
    assert torch.equal(sampled(kind, solver, nothing)[0], plain)


def test_a_strength_begins_with_the_noised_value():
    kept = kept_left_half(start=0.5)
    kept.given = torch.zeros_like(kept.given)
    end, way = sampled("flow", "euler", kept)
    noise, of = normal(2, *SHAPE, seed=9), objective("flow")
    for t, z in way:
        if t >= 500:
            expected = of.add_noise(kept.latents, noise, t.expand(2))
            torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(end, kept.latents, atol=0.1)
    whole, _ = sampled("flow", "euler", None)
    assert not torch.allclose(end, whole, atol=0.1)


def test_rows_keep_their_own():
    kept = kept_left_half()
    kept.given[1] = False
    swapped = kept[torch.tensor([1, 0])]
    assert torch.equal(swapped.latents, kept.latents.flip(0))
    both, _ = sampled("flow", "euler", kept)
    plain, _ = sampled("flow", "euler", None)
    assert torch.equal(both[1], plain[1]) and not torch.equal(both[0], plain[0])
