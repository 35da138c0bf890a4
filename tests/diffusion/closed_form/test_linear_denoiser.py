"""The best linear denoiser of an output, given its prompts."""

import pytest
import torch

from medcodi.diffusion.closed_form.linear_denoiser import PENALTY, LinearDenoiser
from medcodi.encoders.base import PromptEncoding
from tests.diffusion.closed_form.parts import ROWS, SHAPE, WIDTHS, batches, rows


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
    latents, _, _, weights = rows()
    left = {
        name: linear.axes[code] * linear.variances[code] @ linear.axes[code].T
        for name, code in (("", 0), ("ab", 3))
    }
    left = {name: linear.basis @ c @ linear.basis.T for name, c in left.items()}
    torch.testing.assert_close(left[""], torch.cov(latents.flatten(1).T), atol=0.02, rtol=0.01)
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
