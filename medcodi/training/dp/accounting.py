"""How much noise a budget asks for, and how much of it is spent: Opacus' accountants.

The guarantee is for the addition or removal of one unit (epsilon, delta), with Poisson sampling at
the rate q = batch_size / rows and Gaussian noise of noise_multiplier * max_grad_norm on the sum.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from medcodi.config import StageConfig


@dataclass(frozen=True)
class Budget:
    """What the accountant needs to know. It does not change while a stage trains."""

    noise_multiplier: float
    sample_rate: float
    max_grad_norm: float
    delta: float
    unit: str
    units: int
    rows: int
    accountant: str

    @classmethod
    def of(cls, config: StageConfig, units: int, rows: int) -> "Budget":
        """ValueError for a delta above 1 / units, and a batch of all rows."""
        dp = config.dp
        assert dp is not None
        if dp.delta > 1 / units:
            raise ValueError(
                f"dp.delta {dp.delta:g} is above 1 / {units}, one over the number of units "
                f"({dp.unit}s): a mechanism that publishes one of them whole would pass"
            )
        if config.batch_size > rows:
            raise ValueError(
                f"batch_size {config.batch_size} is above the number of rows, {rows}: with dp it "
                "is the expected size of a batch"
            )
        rate, noise = config.batch_size / rows, dp.noise_multiplier
        if noise is None:
            noise = _accountants().utils.get_noise_multiplier(
                target_epsilon=dp.epsilon,
                target_delta=dp.delta,
                sample_rate=rate,
                steps=config.num_steps,
                accountant=dp.accountant,
            )
        return cls(
            float(noise), rate, dp.max_grad_norm, dp.delta, dp.unit, units, rows, dp.accountant
        )

    def epsilon(self, num_steps: int) -> float:
        """Spent after so many steps."""
        return spent([(self, num_steps)])

    def describe(self, num_steps: int) -> str:
        """One line."""
        return (
            f"differential privacy: epsilon {self.epsilon(num_steps):.3g} at delta "
            f"{self.delta:.3g} per {self.unit} after {num_steps} steps (noise multiplier "
            f"{self.noise_multiplier:.3g}, sampling rate {self.sample_rate:.3g}, {self.units} "
            f"{self.unit}s, {self.accountant.upper()} accountant)"
        )


def spent(parts: Sequence[tuple[Budget, int]]) -> float:
    """Epsilon of several trainings on the same units together, each with its number of steps, at
    the sum of their deltas."""
    history = [(b.noise_multiplier, b.sample_rate, n) for b, n in parts if n]
    if not history:
        return 0.0
    accountant = _accountants().create_accountant(mechanism=parts[0][0].accountant)
    accountant.history = history
    with warnings.catch_warnings():  # logarithms of 0, orders at the end of their range: both safe
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta=sum(b.delta for b, _ in parts)))


def _accountants():
    try:
        from opacus import accountants
    except ImportError:
        raise ImportError("differential privacy needs Opacus: pip install 'medcodi[dp]'") from None
    return accountants
