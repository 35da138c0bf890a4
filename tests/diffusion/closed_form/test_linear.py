"""The closed forms: the linear guess of an output from its prompts, and of jointly generated
outputs from each other."""

import pytest
import torch

from medcodi.config import DiffusionConfig
from medcodi.diffusion.closed_form import ClosedForm
from medcodi.diffusion.closed_form.linear_coupling import MIN_NOISE, LinearCoupling, Partner
from medcodi.diffusion.closed_form.linear_denoiser import PENALTY, LinearDenoiser
from medcodi.diffusion.denoisers.vector import VectorDenoiser
from medcodi.diffusion.ldm import LatentDiffusion, Partners
from medcodi.diffusion.multiprompt import PromptFusion
from medcodi.diffusion.objective import OBJECTIVES, build_objective
from medcodi.encoders.base import PromptEncoding

ROWS, SHAPE, WIDTHS = 4000, (2, 3), {"a": (4, 0), "b": (3, 5)}


def rows(seed: int = 0):
    """Latents that are linear in both prompts plus noise; a third of each prompt is absent, and
    zero there."""
    source = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=source)
    mask = torch.ones(ROWS, 1, dtype=torch.bool)
    prompts = {
        n: PromptEncoding(draw(ROWS, e), draw(ROWS, 1, 2), mask, draw(ROWS, k) if k else None)
        for n, (e, k) in WIDTHS.items()
    }
    linear = torch.randn(4 + 8, 6, generator=torch.Generator().manual_seed(9))
    features = torch.cat([prompts["a"].embeds, prompts["b"].embeds, prompts["b"].latents], dim=1)
    latents = (features @ linear + 2 + 0.1 * draw(ROWS, 6)).view(ROWS, *SHAPE)
    available = torch.rand(ROWS, 2, generator=source) > 1 / 3
    for j, n in enumerate(WIDTHS):
        prompts[n] = prompts[n].map(
            lambda x, j=j: x * available[:, j].view(-1, *[1] * (x.ndim - 1)).to(x)
        )
    return latents, prompts, available, linear


def batches(seed: int = 0, size: int = 700):
    latents, prompts, available, _ = rows(seed)
    for start in range(0, ROWS, size):
        part = slice(start, start + size)
        yield latents[part], {n: e[part] for n, e in prompts.items()}, available[part]


@pytest.fixture(scope="module")
def fitted():
    mean = LinearDenoiser(WIDTHS, SHAPE)
    return mean, mean.fit(batches, lambda: batches(seed=1))


def test_the_guess_is_the_regression_on_the_prompts_that_are_there(fitted):
    mean, fits = fitted
    _, prompts, available, linear = rows(seed=2)
    guess = mean.mean(prompts, available)
    known = torch.cat(
        [prompts["a"].embeds, prompts["b"].embeds, prompts["b"].latents], dim=1
    )  # zero where absent
    best = (known @ linear + 2).view(-1, *SHAPE)
    shrunk = 1 / (1 + PENALTY)  # independent features of unit spread
    assert (guess - 2 - shrunk * (best - 2)).abs().mean() < 0.12 * (best - 2).abs().mean()
    assert [fit.prompts for fit in fits] == [[], ["a"], ["b"], ["a", "b"]] and fits[0].rows == ROWS
    assert abs(fits[0].r2) < 0.01 < fits[1].r2 < fits[3].r2 and fits[3].r2 > 0.97
    nothing = mean.mean(prompts, torch.zeros_like(available))
    torch.testing.assert_close(nothing, mean.biases[0].view(1, *SHAPE).expand_as(guess))


def test_an_absent_prompt_and_the_other_rows_do_not_matter(fitted):
    mean, _ = fitted
    _, prompts, available, _ = rows(seed=2)
    guess = mean.mean(prompts, available)
    only_a = {"a": prompts["a"]}
    torch.testing.assert_close(
        mean.mean(only_a, available & torch.tensor([True, False]))[:5],
        mean.mean(prompts, available & torch.tensor([True, False]))[:5],
    )
    torch.testing.assert_close(
        mean.mean({n: e[3:7] for n, e in prompts.items()}, available[3:7]), guess[3:7]
    )


def test_without_multi_prompt_two_prompts_are_the_average_of_the_single_ones():
    mean = LinearDenoiser(WIDTHS, SHAPE)
    fits = mean.fit(batches, lambda: batches(seed=1), multi_prompt=False)
    _, prompts, _, _ = rows(seed=2)
    keep = lambda *flags: torch.tensor(flags).expand(ROWS, 2)
    average = (mean.mean(prompts, keep(True, False)) + mean.mean(prompts, keep(False, True))) / 2
    torch.testing.assert_close(mean.mean(prompts, keep(True, True)), average, atol=1e-4, rtol=1e-4)
    assert [fit.prompts for fit in fits] == [[], ["a"], ["b"]]


def test_the_covariance_of_what_is_left_and_the_linear_denoiser(fitted):
    """In the toy all that a and b leave over is noise of variance .01; without them it is what they
    explain."""
    linear, _ = fitted
    _, _, _, weights = rows()
    left = {
        name: linear.axes[code] * linear.variances[code] @ linear.axes[code].T
        for name, code in (("", 0), ("ab", 3))
    }
    left = {name: linear.basis @ c @ linear.basis.T for name, c in left.items()}
    torch.testing.assert_close(
        left[""], weights.T @ weights + 0.01 * torch.eye(6), atol=0.5, rtol=0.1
    )
    shrunk = weights.T @ weights * (PENALTY / (1 + PENALTY)) ** 2 + 0.01 * torch.eye(6)
    torch.testing.assert_close(left["ab"], shrunk, atol=0.05, rtol=0.2)
    y, alpha, sigma = torch.randn(5, *SHAPE), torch.full((5,), 0.6), torch.full((5,), 0.7)
    for name, flag in (("", False), ("ab", True)):
        signal, noise = linear(y, alpha, sigma, torch.full((5, 2), flag))
        total = torch.linalg.inv(0.36 * left[name] + 0.49 * torch.eye(6))
        torch.testing.assert_close(
            signal.flatten(1), y.flatten(1) @ (0.6 * total @ left[name]), atol=1e-4, rtol=1e-3
        )
        torch.testing.assert_close(0.6 * signal + 0.7 * noise, y, atol=1e-5, rtol=1e-4)


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


def memory(penalty: float) -> tuple[float, float]:
    """Mean squared error on its training rows, whose features say nothing of their latents but the
    first, a hundredth of
    the spread: of that number, and of the rest. What is fitted of the rest is memory."""
    draw = lambda seed, *shape: torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    encoding = PromptEncoding(
        draw(0, 300, 100), torch.zeros(300, 1, 1), torch.ones(300, 1, dtype=torch.bool)
    )
    latents = draw(1, 300, 3, 2)
    latents[:, 0, 0] = 0.1 * encoding.embeds[:, 0]
    linear = LinearDenoiser({"a": (100, 0)}, (3, 2), penalty)
    given = torch.ones(300, 1, dtype=torch.bool)
    linear.fit(lambda: [(latents, {"a": encoding}, given)], list)
    error = (linear.mean({"a": encoding}, given) - latents).square().flatten(1).mean(0)
    return float(error[0]) / 0.01, float(error[1:].mean())


def test_what_is_certain_is_kept_and_what_is_not_is_not_remembered(monkeypatch):
    small, rest = memory(0.1)
    assert small < 0.05 and rest > 0.9
    monkeypatch.setattr(
        "medcodi.diffusion.closed_form.linear_denoiser.shrinkage",
        lambda agreement: torch.eye(6).double(),
    )
    small, rest = memory(0.1)
    assert small < 0.05 and rest < 0.75  # without the shrinkage a third of the noise is remembered
    small, rest = memory(3.0)
    assert (
        small > 0.5 and rest > 0.9
    )  # a penalty that forgets the noise forgets what is certain, too


def test_a_penalty_of_nothing_is_refused():
    with pytest.raises(ValueError, match="penalty of the linear denoiser must be above 0, got 0"):
        LinearDenoiser({"a": (4, 0)}, (3, 2), 0)


def test_latents_too_large_for_moments_are_refused():
    with pytest.raises(ValueError, match="moments of 32768 x 32768 numbers, the limit is 20000"):
        LinearDenoiser({"a": (4, 0)}, (8, 64, 64))


SHAPES = {"x": (2, 2), "y": (3,), "z": (2,)}


def study(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    mixing = torch.randn(9, 9, generator=torch.Generator().manual_seed(5))
    values = torch.randn(count, 9, generator=torch.Generator().manual_seed(seed)) @ mixing
    return {
        n: part.reshape(count, *SHAPES[n])
        for n, part in zip(SHAPES, values.split([4, 3, 2], dim=1), strict=True)
    }


@pytest.fixture(scope="module")
def coupling() -> LinearCoupling:
    linear = LinearCoupling("x", SHAPES)
    everyone = torch.ones(2000, dtype=torch.bool)
    linear.fit(
        lambda: [
            {n: (v[i : i + 2000], everyone) for n, v in study(20000).items()}
            for i in range(0, 20000, 2000)
        ]
    )
    return linear


def partners(
    values: dict[str, torch.Tensor], alpha: float, sigma: float, present: bool = True
) -> dict[str, Partner]:
    rows = len(next(iter(values.values())))
    full = lambda x: torch.full((rows,), x)
    return {
        n: Partner(v, full(alpha), full(sigma), torch.full((rows,), present))
        for n, v in values.items()
    }


def expectation(
    c: torch.Tensor, alpha: float, sigma: float, shown: torch.Tensor, columns: list[int]
) -> torch.Tensor:
    """E[x | alpha r + sigma e at `columns`] by the textbook formula; the ridge penalty counts as
    noise."""
    spread = torch.cat(
        [reference().diagonal()[a:b].mean().expand(b - a) for a, b in ((0, 4), (4, 7), (7, 9))]
    )
    penalty = torch.tensor([MIN_NOISE if c < 4 else PENALTY for c in columns])
    noise = torch.diag(sigma**2 + penalty * alpha**2 * spread[columns])
    gain = alpha * c[:4][:, columns] @ torch.linalg.inv(alpha**2 * c[columns][:, columns] + noise)
    return (shown[:, columns].double() @ gain.T).view(-1, 2, 2).float()


def reference() -> torch.Tensor:
    return torch.cov(torch.cat([v.flatten(1) for v in study(20000).values()], dim=1).double().T)


@pytest.mark.parametrize(("alpha", "sigma"), [(0.7, 0.3), (0.5, 0.5), (0.2, 0.9)])
def test_partners_add_what_the_joint_gaussian_says_beyond_the_output_itself(coupling, alpha, sigma):
    values, c = study(6, seed=3), reference()
    shown = torch.cat([v.flatten(1) for v in values.values()], dim=1)
    known = [
        expectation(c, alpha, sigma, shown, columns) for columns in (list(range(9)), list(range(4)))
    ]
    added = coupling(partners(values, alpha, sigma), torch.zeros(6, 3, dtype=torch.bool))
    torch.testing.assert_close(added, known[0] - known[1], atol=5e-3, rtol=5e-3)
    assert added.abs().max() > 0.05


def test_prompts_explain_away_what_partners_would_say(coupling):
    """With z in the context the covariance is that given z: what y says of x through z counts no
    more."""
    c, values, given = (
        reference(),
        study(6, seed=3),
        torch.tensor([False, False, True]).expand(6, 3),
    )
    known = c[7:, 7:] + PENALTY * c.diagonal()[7:].mean() * torch.eye(2)
    left = c - c[:, 7:] @ torch.linalg.inv(known) @ c[7:, :]
    shown = torch.cat([v.flatten(1) for v in values.values()], dim=1)
    expected = [
        expectation(left, 0.5, 0.5, shown, columns) for columns in (list(range(7)), list(range(4)))
    ]
    two = {n: values[n] for n in ("x", "y")}
    torch.testing.assert_close(
        coupling(partners(two, 0.5, 0.5), given), expected[0] - expected[1], atol=5e-3, rtol=5e-3
    )


def test_pure_noise_absence_and_the_output_alone_add_nothing(coupling):
    values, given = study(5, seed=3), torch.zeros(5, 3, dtype=torch.bool)
    for silent in (
        partners(values, 0.0, 1.0),
        partners(values, 0.5, 0.5, present=False),
        partners({"x": values["x"]}, 0.5, 0.5),
    ):
        assert coupling(silent, given).abs().max() < 1e-5
    together = coupling(partners(values, 0.5, 0.5), given)
    torch.testing.assert_close(
        together[:2], coupling(partners({n: v[:2] for n, v in values.items()}, 0.5, 0.5), given[:2])
    )


def test_sampling_which_solves_equal_rows_once_says_what_training_says(coupling):
    values, given = (
        study(6, seed=3),
        torch.tensor([[False, False, False], [False, False, True]]).repeat(3, 1),
    )
    two = partners({n: values[n] for n in ("x", "y")}, 0.5, 0.5)
    trained, sampled = coupling.train()(two, given), coupling.eval()(two, given)
    coupling.train()
    torch.testing.assert_close(trained, sampled, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(trained[0::2], trained[1::2])


def test_gaps_in_the_data_leave_the_covariance_positive():
    linear, there = (
        LinearCoupling("y", SHAPES),
        torch.rand(300, 3, generator=torch.Generator().manual_seed(0)) > 0.5,
    )
    linear.fit(lambda: [{n: (v, there[:, j]) for j, (n, v) in enumerate(study(300).items())}])
    assert torch.linalg.eigvalsh(linear.covariance).min() > -1e-3
    never = torch.zeros(300, dtype=torch.bool)
    linear.fit(lambda: [{n: (v, never if n == "z" else ~never) for n, v in study(300).items()}])
    assert (
        not linear.covariance[linear.slices["z"]].any() and torch.isfinite(linear.covariance).all()
    )
