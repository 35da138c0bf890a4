"""epsilon, v and flow say the same thing in three ways; the schedulers undo the noise that the
objective adds."""

import pytest
import torch

from medcodi.config import DiffusionConfig
from medcodi.diffusion.objective import build_objective
from tests.networks import normal, objective

TYPES = ("epsilon", "v_prediction", "flow")


CLEAN, NOISE = normal(5, 2, 4, 4, seed=1).double(), normal(5, 2, 4, 4, seed=2).double()


TIMESTEPS = torch.tensor([0.0, 1.0, 333.0, 700.0, 999.0])


@pytest.fixture(params=TYPES)
def of_type(request):
    return objective(request.param)


def test_the_target_gives_the_sample_back(of_type):
    noisy = of_type.add_noise(CLEAN, NOISE, TIMESTEPS)
    target = of_type.target(CLEAN, NOISE, TIMESTEPS)
    assert torch.allclose(of_type.to_sample(target, noisy, TIMESTEPS), CLEAN, atol=2e-5)


def test_epsilon_and_v_describe_one_noisy_latent():
    epsilon, v = objective("epsilon"), objective("v_prediction")
    noisy = epsilon.add_noise(CLEAN, NOISE, TIMESTEPS)
    assert torch.equal(noisy, v.add_noise(CLEAN, NOISE, TIMESTEPS))
    alpha, sigma = (x[:, None, None, None].double() for x in v.alpha_sigma(TIMESTEPS))
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-6)
    predicted_v = v.target(CLEAN, NOISE, TIMESTEPS)
    predicted_epsilon = (
        alpha * predicted_v + sigma * noisy
    )  # v -> epsilon (Salimans and Ho 2022, appendix D)
    assert torch.allclose(predicted_epsilon, epsilon.target(CLEAN, NOISE, TIMESTEPS), atol=1e-5)
    again = (predicted_epsilon - sigma * noisy) / alpha  # epsilon -> v
    assert torch.allclose(again, predicted_v, atol=1e-4)


def test_flow_runs_straight_from_data_to_noise():
    flow = objective("flow")
    ends = torch.tensor([0.0, 1000.0])
    assert torch.equal(
        flow.add_noise(CLEAN[:2], NOISE[:2], ends), torch.stack([CLEAN[0], NOISE[1]])
    )
    velocity = flow.target(CLEAN, NOISE, TIMESTEPS)
    step = flow.add_noise(CLEAN, NOISE, TIMESTEPS + 1) - flow.add_noise(CLEAN, NOISE, TIMESTEPS)
    assert torch.allclose(step * 1000, velocity, atol=1e-3)  # d z_t / d s


def sampled(of_type, predict, num_steps=20):
    """The default scheduler from pure noise, with a prediction that knows the truth."""
    scheduler = of_type.scheduler()
    scheduler.set_timesteps(num_steps)
    first = scheduler.timesteps[:1]
    latents = of_type.add_noise(CLEAN[:1], NOISE[:1], first)
    for t in scheduler.timesteps:
        latents = scheduler.step(predict(latents, t), t, latents).prev_sample
    return latents


def test_the_default_scheduler_with_the_true_prediction_returns_the_sample(of_type):
    """DDIM with the true noise (or v), Euler with the true velocity: the trajectory ends at z_0."""
    out = sampled(of_type, lambda _, t: of_type.target(CLEAN[:1], NOISE[:1], t.view(1)))
    # DDIM's last step ends at the least noise of training, sigma = 0.029, not at zero
    left = 0.0 if of_type.is_flow else float(of_type.noise_level(torch.tensor([0])))
    alpha = (1 - left**2) ** 0.5 if not of_type.is_flow else 1.0
    assert torch.allclose(out, alpha * CLEAN[:1] + left * NOISE[:1], atol=1e-4)
    assert left < 0.03


def test_a_prediction_from_the_noisy_latent_returns_the_sample(of_type):
    """The same through z_t: what a perfect network computes from what it sees, also after an error
    at the start."""

    def perfect(noisy, t):
        alpha, sigma = (x.view(1, 1, 1, 1).double() for x in of_type.alpha_sigma(t.view(1)))
        return of_type.target(CLEAN[:1], (noisy - alpha * CLEAN[:1]) / sigma, t.view(1))

    out = sampled(of_type, perfect)
    again = of_type.to_sample(perfect(out, torch.tensor(1)), out, torch.tensor([1]))
    assert torch.allclose(again, CLEAN[:1], atol=1e-3)
    assert (out - CLEAN[:1]).abs().max() < 0.1


def test_the_scheduler_trains_on_the_same_noise(of_type):
    """diffusers' own add_noise / scale_noise agrees with ours."""
    scheduler, steps = of_type.scheduler(), torch.tensor([999, 400, 0])
    if of_type.is_flow:
        scheduler.set_timesteps(10)
        steps = scheduler.timesteps[[0, 4, 9]]
        theirs = scheduler.scale_noise(CLEAN[:3], steps, NOISE[:3])
    else:
        theirs = scheduler.add_noise(CLEAN[:3], NOISE[:3], steps)
    assert torch.allclose(theirs, of_type.add_noise(CLEAN[:3], NOISE[:3], steps), atol=1e-5)


def test_noise_level_grows_from_clean_to_noise(of_type):
    steps = torch.arange(0, 1000, 37).float()
    level = of_type.noise_level(steps)
    assert (level.diff() > 0).all() and level.min() >= 0 and level.max() <= 1
    assert of_type.noise_level(torch.tensor([999.0])) > 0.99
    if of_type.is_flow:
        assert (
            of_type.noise_level(torch.zeros(1)) == 0
            and of_type.noise_level(torch.tensor([1000.0])) == 1
        )
    else:
        assert 0 < of_type.noise_level(torch.zeros(1)) < 0.03


def test_timesteps_cover_the_range(of_type):
    uniform = torch.linspace(0, 1, 10_001)[:-1]
    drawn = of_type.timesteps(uniform)
    assert drawn.min() == 0 and 999 <= drawn.max() < 1000
    assert of_type.is_flow or torch.equal(drawn, drawn.floor())
    assert torch.allclose(drawn.float().mean(), torch.tensor(499.5), atol=1)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_noise_schedule_is_copied_to_a_device_once(kind, monkeypatch):
    of_type, copies, to = objective(kind), [], torch.Tensor.to
    monkeypatch.setattr(
        torch.Tensor, "to", lambda tensor, *where: (copies.append(where), to(tensor, *where))[1]
    )
    steps = [torch.zeros(2, device=device) for device in ("cpu", "meta", "meta", "cpu")]
    assert [of_type.alpha_sigma(step)[0].device.type for step in steps] == [
        "cpu",
        "meta",
        "meta",
        "cpu",
    ]
    assert copies == [(torch.device("cpu"),), (torch.device("meta"),)]


def test_logit_normal_timesteps_have_the_distribution_of_their_name():
    flow = objective("flow", timestep_sampling="logit_normal")
    s = flow.timesteps(torch.rand(20_000, generator=torch.Generator().manual_seed(0))) / 1000
    z = torch.logit(s)
    assert abs(float(z.mean())) < 0.03 and abs(float(z.std()) - 1) < 0.03
    extremes = flow.timesteps(torch.tensor([0.0, 1 - 2**-24]))
    assert torch.isfinite(extremes).all() and extremes.min() >= 0 and extremes.max() < 1000


def test_a_noisy_sample_is_all_that_a_training_step_needs(of_type):
    sample = of_type.sample(CLEAN, NOISE, TIMESTEPS)
    assert torch.equal(sample.latents, of_type.add_noise(CLEAN, NOISE, TIMESTEPS))
    assert torch.equal(sample.noise_level, of_type.noise_level(TIMESTEPS))
    assert (sample.losses(sample.target) < 1e-12).all()
    error = torch.arange(5.0).view(5, 1, 1, 1)
    expected = of_type.weight(TIMESTEPS) * torch.arange(5.0) ** 2
    assert torch.allclose(sample.losses(sample.target + error).float(), expected, rtol=1e-5)
    some = sample[torch.tensor([3, 1])]
    assert torch.equal(some.timesteps, TIMESTEPS[[3, 1]]) and torch.equal(
        some.target[0], sample.target[3]
    )


def test_weights(of_type):
    assert torch.equal(of_type.weight(TIMESTEPS), torch.ones(5))


def test_min_snr_weights_bound_the_error_of_the_sample():
    """Hang et al. 2023: min(SNR, 5) in front of the error of z_0, whatever is predicted."""
    for kind, of_sample in (("epsilon", lambda snr: snr), ("v_prediction", lambda snr: snr + 1)):
        weighted = objective(kind, loss_weighting="min_snr")
        alpha, sigma = weighted.alpha_sigma(TIMESTEPS)
        snr = (alpha / sigma) ** 2
        assert torch.allclose(
            weighted.weight(TIMESTEPS) * of_sample(snr), snr.clamp(max=5), rtol=1e-4
        )
        prediction = weighted.target(CLEAN, NOISE, TIMESTEPS) + 0.1
        noisy = weighted.add_noise(CLEAN, NOISE, TIMESTEPS)
        error = (
            (weighted.to_sample(prediction, noisy, TIMESTEPS) - CLEAN).square().flatten(1).mean(1)
        )
        assert torch.allclose(error.float() * of_sample(snr), torch.full((5,), 0.01), rtol=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"prediction_type": "noise"},
            r"prediction_type must be one of \('epsilon', .*got 'noise'",
        ),
        (
            {"loss_weighting": "snr"},
            r"loss_weighting must be one of \('none', 'min_snr'\), got 'snr'",
        ),
        (
            {"timestep_sampling": "normal"},
            r"timestep_sampling must be one of \('uniform', 'logit_normal'\)",
        ),
        ({"prediction_type": "flow", "loss_weighting": "min_snr"}, "not for flow"),
    ],
)
def test_user_errors_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        objective(**changes)


def test_shift_moves_timesteps_and_the_scheduler_alike():
    uniform = torch.tensor([0.25, 0.5, 0.75])
    config = DiffusionConfig(prediction_type="flow", shift=3.0)
    torch.testing.assert_close(
        build_objective(config).timesteps(uniform), 1000 * 3 * uniform / (1 + 2 * uniform)
    )
    assert build_objective(config).scheduler().config.shift == 3.0
    torch.testing.assert_close(
        build_objective(DiffusionConfig(prediction_type="flow")).timesteps(uniform), 1000 * uniform
    )


@pytest.mark.parametrize(("kind", "shift"), [("flow", 0.0), ("epsilon", 2.0)])
def test_shift_is_refused_where_it_means_nothing(kind, shift):
    with pytest.raises(ValueError, match="shift must be positive"):
        build_objective(DiffusionConfig(prediction_type=kind, shift=shift))
