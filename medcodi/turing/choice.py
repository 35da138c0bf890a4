"""The forced choice: real or made by a computer, with confidence.

An answer is 1 to 6: computer (sure, rather sure, a guess), then real (a guess, rather sure, sure).
Legend: R readers, I items of a task.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from medcodi.metrics.statistics import bootstrap
from medcodi.turing.tasks import CHOICE

CHOICE_HEAD = [
    "task",
    "items",
    "answers",
    "right",
    "real called real",
    "synthetic called synthetic",
    "right when sure",
    "sure",
    "AUC",
    "alpha",
]
CHOICE_NOTE = (
    "Shares of all answers; the latest answer of a reader for an item counts. Half of the items "
    "are synthetic: .5 right is what guessing gives. Sure: share of answers with the highest "
    "confidence. Brackets: 95 % intervals, items drawn with replacement (readers are taken as they "
    "are). AUC: how often a real item is called real with more confidence than a synthetic one; "
    ".5: the readers cannot tell. Alpha: Krippendorff's, for ordinal answers."
)
FIGURES = ("right", "real_called_real", "synthetic_called_synthetic", "right_when_sure", "sure")


def describe_choice(
    scores: np.ndarray, synthetic: np.ndarray, num_resamples: int, seed: int
) -> dict[str, Any]:
    """FIGURES of one task: `scores` (R, I) with NaN for no answer, `synthetic` (I,) bool."""
    last = len(CHOICE.labels)

    def shares(items: np.ndarray) -> dict[str, float]:
        given = scores[:, items]
        made = np.broadcast_to(synthetic[items], given.shape)[~np.isnan(given)]
        given = given[~np.isnan(given)]
        right = (given > last / 2) != made
        sure = (given == 1) | (given == last)
        return {
            "right": _mean(right),
            "real_called_real": _mean(right[~made]),
            "synthetic_called_synthetic": _mean(right[made]),
            "right_when_sure": _mean(right[sure]),
            "sure": _mean(sure),
        }

    def estimate(name: str) -> dict[str, Any]:
        statistic = lambda items: shares(items)[name]
        return asdict(bootstrap(statistic, scores.shape[1], None, num_resamples, seed))

    return {name: estimate(name) for name in FIGURES}


def _mean(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def choice_row(told: dict[str, Any]) -> list[str]:
    """Under CHOICE_HEAD."""
    figures = [cell(told[name], 2) for name in (*FIGURES, "auc", "alpha")]
    return [told["title"], str(told["num_items"]), str(told["num_ratings"]), *figures]


def cell(estimate: dict[str, Any], digits: int, sd: float | None = None) -> str:
    """A value with its spread and its interval; "-" without one."""
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if np.isnan(value):
        return "-"
    spread = "" if sd is None or np.isnan(sd) else f" +- {sd:.{digits}f}"
    bounds = "" if np.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{spread}{bounds}"
