"""Linear regression of latents on prompts from moments: ridge, then shrinkage along canonical
directions.

A ridge regression of a thousand latent numbers on two thousand features of three thousand rows fits
much that is not
there. One penalty cannot tell: enough of it to quiet noise also mutes what is certain and small.
Breiman and Friedman ("Curds and whey", JRSS B 1997) shrink the fitted values instead, in the
directions of the response in which it correlates most with the prediction, each by what is left of
that correlation outside the training rows. Here cross-validation says how much that is.

Legend: d features, O numbers of the response, W (d, O), b (O,).
"""

from dataclasses import dataclass, fields

import torch

# of the mean variance of a number, added to every direction before it is divided by its spread
WHITENING = 1e-2


@dataclass
class Moments:
    """Sums over rows of x x', x y', y y', x, y and 1; they add and subtract, so that a part of the
    data is quickly left out and one pass in any order will do."""

    xx: torch.Tensor
    xy: torch.Tensor
    yy: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    count: int = 0

    @classmethod
    def zeros(cls, d: int, width: int, device: torch.device) -> "Moments":
        new = lambda *shape: torch.zeros(*shape, dtype=torch.float64, device=device)
        return cls(new(d, d), new(d, width), new(width, width), new(d), new(width))

    def add(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Rows x (B, d), y (B, O)."""
        x, y = x.double(), y.double()
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.yy += y.T @ y
        self.x += x.sum(0)
        self.y += y.sum(0)
        self.count += len(x)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(
            **{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)}
        )

    @property
    def mean_y(self) -> torch.Tensor:
        return self.y / max(self.count, 1)

    def covariance(self) -> torch.Tensor:
        """(O, O) of the response."""
        return self.yy / max(self.count, 1) - torch.outer(self.mean_y, self.mean_y)

    def ridge(
        self, penalty: float, shrink: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """W and b, the bias unpenalised; zero weights without rows. `shrink` (O, O) multiplies W
        from the right."""
        n = max(self.count, 1)
        mean_x = self.x / n
        xx = self.xx - n * torch.outer(mean_x, mean_x)
        xy = self.xy - n * torch.outer(mean_x, self.mean_y)
        xx.diagonal().add_(penalty * n)
        weight = torch.cholesky_solve(xy, torch.linalg.cholesky(xx))
        weight = weight if shrink is None else weight @ shrink
        return weight, self.mean_y - mean_x @ weight

    def error(self, weight: torch.Tensor, bias: torch.Tensor) -> float:
        """Mean over rows of || y - x W - b ||^2."""
        fitted = (
            (weight * (self.xx @ weight)).sum()
            + 2 * (self.x @ weight) @ bias
            + self.count * bias @ bias
        )
        return float(
            self.yy.trace() - 2 * ((weight * self.xy).sum() + self.y @ bias) + fitted
        ) / max(self.count, 1)


@dataclass
class Agreement:
    """Sums over rows of (y - m)(y - m)', (y - m)(p - m)', (p - m)(p - m)' and 1, of a response y, a
    prediction p and the mean response m; (O, O) each."""

    yy: torch.Tensor
    yp: torch.Tensor
    pp: torch.Tensor
    count: int = 0

    @classmethod
    def zeros(cls, like: torch.Tensor) -> "Agreement":
        new = lambda: like.new_zeros(len(like), len(like))
        return cls(new(), new(), new())

    @classmethod
    def of(
        cls, moments: Moments, weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor
    ) -> "Agreement":
        """p = x W + b on the rows of `moments`."""
        n, shift = moments.count, bias - mean
        y, p = moments.y - n * mean, moments.x @ weight  # sums over rows of y - m, of x W
        yp = (moments.xy - torch.outer(moments.x, mean)).T @ weight + torch.outer(y, shift)
        pp = (
            weight.T @ moments.xx @ weight
            + torch.outer(p, shift)
            + torch.outer(shift, p)
            + n * torch.outer(shift, shift)
        )
        yy = moments.yy - torch.outer(moments.y, mean) - torch.outer(mean, y)
        return cls(yy, yp, pp, n)

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            **{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        )

    def residual(self, shrink: torch.Tensor | None = None) -> torch.Tensor | None:
        """Covariance (O, O) of y - m - B'(p - m), B the identity or `shrink`; None without rows."""
        if not self.count:
            return None
        yp, pp = (
            (self.yp, self.pp)
            if shrink is None
            else (self.yp @ shrink, shrink.T @ self.pp @ shrink)
        )
        return (self.yy - yp - yp.T + pp) / self.count


def shrinkage(agreement: Agreement) -> torch.Tensor:
    """B (O, O), for predictions made without the row: W B, along canonical directions u_i of the
    response, keeps the share d_i = clip(E[y_i p_i] / E[p_i^2], 0, 1) of a prediction (Breiman and
    Friedman 1997, section 3, with the slopes measured).

    The directions are the eigenvectors of the symmetric part of E[y p'] after y is whitened.
    Without rows, the identity."""
    identity = torch.eye(len(agreement.yy)).to(agreement.yy)
    if not agreement.count:
        return identity
    variances, axes = torch.linalg.eigh(agreement.yy / agreement.count)
    spread = (variances.clamp(min=0) + WHITENING * variances.mean()).sqrt()
    if not spread.min() > 0:  # a constant response
        return identity
    whiten = axes / spread  # (O, O): y -> y @ whiten
    yp, pp = (whiten.T @ part @ whiten / agreement.count for part in (agreement.yp, agreement.pp))
    along, directions = torch.linalg.eigh((yp + yp.T) / 2)
    power = (directions * (pp @ directions)).sum(0)
    kept = (along / power.clamp(min=1e-12)).clamp(0, 1)
    return whiten @ (directions * kept) @ directions.T @ (axes * spread).T
