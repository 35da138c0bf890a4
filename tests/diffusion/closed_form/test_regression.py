"""Regression from moments: what is added and left out is what the rows themselves say."""

import torch

from medcodi.diffusion.closed_form.regression import Agreement, Moments, shrinkage

ROWS, FEATURES, NUMBERS = 50, 7, 4


def data(rows: int = ROWS) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(rows, FEATURES, generator=source, dtype=torch.float64) + 1
    y = x[:, :NUMBERS] + torch.randn(rows, NUMBERS, generator=source, dtype=torch.float64) + 2
    return x, y


def moments(x: torch.Tensor, y: torch.Tensor) -> Moments:
    found = Moments.zeros(FEATURES, NUMBERS, torch.device("cpu"))
    found.add(x, y)
    return found


def test_ridge_is_the_least_squares_solution_with_a_penalty():
    x, y = data()
    weight, bias = moments(x, y).ridge(0.5)
    centred = x - x.mean(0)
    expected = torch.linalg.solve(
        centred.T @ centred + 0.5 * ROWS * torch.eye(FEATURES), centred.T @ (y - y.mean(0))
    )
    torch.testing.assert_close(weight, expected)
    torch.testing.assert_close(bias, y.mean(0) - x.mean(0) @ weight)
    error = (y - x @ weight - bias).square().sum(1).mean()
    torch.testing.assert_close(torch.tensor(moments(x, y).error(weight, bias)), error.float())


def test_rows_are_left_out_by_subtraction():
    x, y = data()
    rest = moments(x, y) - moments(x[:20], y[:20])
    torch.testing.assert_close(rest.ridge(0.1)[0], moments(x[20:], y[20:]).ridge(0.1)[0])
    assert rest.count == 30
    torch.testing.assert_close(rest.covariance(), torch.cov(y[20:].T, correction=0))


def test_agreement_and_residuals_are_those_of_the_rows():
    x, y = data()
    weight, bias = moments(x[20:], y[20:]).ridge(0.1)
    mean = y.mean(0)
    p, y0 = x[:20] @ weight + bias - mean, y[:20] - mean
    found = Agreement.of(moments(x[:20], y[:20]), weight, bias, mean)
    for name, expected in (("yy", y0.T @ y0), ("yp", y0.T @ p), ("pp", p.T @ p)):
        torch.testing.assert_close(getattr(found, name), expected)
    shrink = torch.randn(
        NUMBERS, NUMBERS, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    left = y0 - p @ shrink
    torch.testing.assert_close(found.residual(shrink), left.T @ left / 20)
    torch.testing.assert_close(found.residual(), (y0 - p).T @ (y0 - p) / 20)


def test_shrinkage_keeps_the_share_that_holds_in_each_direction():
    """Predictions twice too large, right, and of the wrong sign, in directions that are not the
    axes."""
    rotation = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    )[0]
    y = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    p = y * torch.tensor([2.0, 1.0, -1.0], dtype=torch.float64)
    y, p = y @ rotation.T, p @ rotation.T
    shrink = shrinkage(Agreement(y.T @ y, y.T @ p, p.T @ p, len(y)))
    expected = (
        rotation @ torch.diag(torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)) @ rotation.T
    )
    torch.testing.assert_close(shrink, expected, atol=0.02, rtol=0)


def test_without_rows_or_spread_nothing_is_shrunk():
    none = Agreement.zeros(torch.zeros(3, dtype=torch.float64))
    assert none.residual() is None
    torch.testing.assert_close(shrinkage(none), torch.eye(3, dtype=torch.float64))
    none.count = 5
    torch.testing.assert_close(shrinkage(none), torch.eye(3, dtype=torch.float64))
