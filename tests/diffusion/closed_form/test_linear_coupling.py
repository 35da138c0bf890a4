"""What jointly generated outputs say of each other, linearly."""

import pytest
import torch

from medcodi.diffusion.closed_form.linear_coupling import MIN_NOISE, LinearCoupling, Partner
from medcodi.diffusion.closed_form.linear_denoiser import PENALTY

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
