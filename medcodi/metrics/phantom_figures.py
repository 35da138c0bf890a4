"""Does generation follow its prompt, and do joint outputs belong together? Measured with the
phantom's ground truth.

A figure is a statistic of a reading (`phantom_readings.py`) and the truth, and stands beside its
floors (shuffled prompts, nearest neighbour, constant) and its ceiling (the real outputs, read
alike). Legend: N studies.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from medcodi.metrics import statistics
from medcodi.metrics.phantom_metrics import Metric
from medcodi.metrics.phantom_readings import KEY_FINDINGS, Reading, take
from medcodi.metrics.statistics import Estimate, kappa, spearman

NUM_SHUFFLES = 20


@dataclass(frozen=True)
class Outputs:
    """Readings of the same N studies: what was generated, the real outputs, the outputs of the
    training study with the nearest prompt, and one constant output (None where the metrics know its
    value)."""

    generated: Reading
    real: Reading
    nearest: Reading
    constant: Reading | None = None


def follow_figures(
    route: str,
    metrics: Sequence[Metric],
    truth: Reading,
    outputs: Outputs,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
    num_resamples: int = 500,
) -> list[dict[str, Any]]:
    """One figure a metric: {route, metric, value, interval, n, positives, floors, ceiling,
    above_chance, note}.

    `floors.shuffled` is the mean over permutations of the outputs among the prompts. `above_chance`
    says whether the lower end of the interval lies above the shuffled and the constant floor.
    `groups` (N,) are the patients.
    """
    num_studies = len(truth["ctr"])
    shuffled = [take(outputs.generated, order) for order in _orders(num_studies, seed)]
    figures = []
    for metric in metrics:
        rows = _rows(metric, truth)
        estimate = statistics.bootstrap(
            partial(_value, metric, outputs.generated, truth, rows),
            *_resampling(rows, groups, num_resamples, seed),
        )
        figures.append(
            {"route": route, "metric": metric.name, **_estimate(estimate), "n": len(rows)}
            | _context(metric, truth, outputs, shuffled, rows, estimate)
        )
    return figures


def change_figures(
    metrics: Sequence[Metric],
    truth: Reading,
    changed: Reading,
    reference: Reading,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
    num_resamples: int = 500,
) -> list[dict[str, Any]]:
    """What a change of the way of sampling does to each metric of N studies: {metric, n, value,
    difference: {value, interval}}; `difference` is changed minus reference, paired by study."""
    figures = []
    for metric in metrics:
        rows = _rows(metric, truth)
        new, old = (partial(_value, metric, read, truth, rows) for read in (changed, reference))
        difference = statistics.paired_difference(
            new, old, *_resampling(rows, groups, num_resamples, seed)
        )
        figures.append(
            {
                "metric": metric.name,
                "n": len(rows),
                "value": new(),
                "difference": _estimate(difference),
            }
        )
    return figures


def _rows(metric: Metric, truth: Reading) -> np.ndarray:
    """Indices of the studies that the metric is about."""
    count = len(truth["ctr"])
    return np.arange(count) if metric.rows is None else np.flatnonzero(metric.rows(truth))


def _resampling(
    rows: np.ndarray, groups: Sequence[Any] | None, num_resamples: int, seed: int
) -> tuple[int, list[Any] | None, int, int]:
    """Arguments of a bootstrap over `rows` of the studies, by their patients."""
    own = None if groups is None else [groups[i] for i in rows]
    return len(rows), own, num_resamples, seed


def _orders(num_rows: int, seed: int) -> list[np.ndarray]:
    return [np.random.default_rng([seed, i]).permutation(num_rows) for i in range(NUM_SHUFFLES)]


def _value(
    metric: Metric, read: Reading, truth: Reading, rows: np.ndarray, at: np.ndarray | None = None
) -> float:
    """The metric over `rows` of the studies, or over the resample `at` of these rows."""
    chosen = rows if at is None else rows[at]
    return metric.function(take(read, chosen), take(truth, chosen)) if len(chosen) else math.nan


def _context(
    metric: Metric,
    truth: Reading,
    outputs: Outputs,
    shuffled: list[Reading],
    rows: np.ndarray,
    estimate: Estimate,
) -> dict[str, Any]:
    """What stands beside a value: evidence, floors, ceiling."""
    true = take(truth, rows)
    constant = (
        _value(metric, outputs.constant, truth, rows)
        if metric.constant is None
        else metric.constant(true)
    )
    floors = {
        "shuffled": _mean([_value(metric, read, truth, rows) for read in shuffled]),
        "nearest_neighbour": _value(metric, outputs.nearest, truth, rows),
        "constant": constant,
    }
    highest = np.nanmax([floors["shuffled"], floors["constant"], -math.inf])
    positives = metric.positives(take(outputs.generated, rows), true) if metric.positives else None
    return {
        "positives": None if positives is None else int(positives),
        "floors": floors,
        "ceiling": _value(metric, outputs.real, truth, rows),
        "above_chance": bool(estimate.low > highest),
        "note": "not defined here: one class only, or a constant"
        if math.isnan(estimate.value)
        else "",
    }


def _mean(values: Sequence[float]) -> float:
    values = [v for v in values if not math.isnan(v)]
    return float(np.mean(values)) if values else math.nan


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": [estimate.low, estimate.high]}


def _agreement(key: str) -> Callable[[Reading, Reading], float]:
    return lambda a, b: kappa(a[key] > 0.5, b[key] > 0.5)


def _mean_agreement(a: Reading, b: Reading) -> float:
    """A finding that neither side ever shows proves no coherence: it counts as zero here."""
    return float(np.mean(np.nan_to_num([_agreement(key)(a, b) for key in KEY_FINDINGS])))


PAIR_METRICS: dict[str, Callable[[Reading, Reading], float]] = {
    "mean kappa of the four findings": _mean_agreement,
    **{f"{key.replace('_', ', ')}: kappa": _agreement(key) for key in KEY_FINDINGS},
    "heart size: Spearman": lambda a, b: spearman(a["ctr"], b["ctr"]),
}

Pair = tuple[Reading, Reading]


def coherence_figures(
    setting: str,
    pair: str,
    joint: Pair,
    independent: Pair,
    real: Pair,
    seed: int = 0,
    num_resamples: int = 500,
    in_order: Pair | None = None,
) -> list[dict[str, Any]]:
    """Agreement of the two outputs of a study, generated jointly and independently from the SAME
    seeds and prompts, and `in_order`: one after the other, where they were.

    One figure a metric: {setting, pair, metric, joint, independent, difference (each value and
    interval), n, floors, ceiling}, and in_order; the difference is paired by sample.
    `floors.shuffled` pairs joint outputs of different samples.
    """
    n = len(joint[0]["ctr"])
    figures = []
    for name, function in PAIR_METRICS.items():
        first, second = (
            partial(_pair_value, function, joint),
            partial(_pair_value, function, independent),
        )
        shuffled = [function(joint[0], take(joint[1], order)) for order in _orders(n, seed)]
        figures.append(
            {
                "setting": setting,
                "pair": pair,
                "metric": name,
                "n": n,
                "joint": _estimate(statistics.bootstrap(first, n, None, num_resamples, seed)),
                "independent": _estimate(
                    statistics.bootstrap(second, n, None, num_resamples, seed)
                ),
                "difference": _estimate(
                    statistics.paired_difference(first, second, n, None, num_resamples, seed)
                ),
                "floors": {"shuffled": _mean(shuffled)},
                "ceiling": function(*real),
            }
        )
        if in_order is not None:
            chained = partial(_pair_value, function, in_order)
            measured = statistics.bootstrap(chained, n, None, num_resamples, seed)
            figures[-1]["in_order"] = _estimate(measured)
    return figures


def _pair_value(
    function: Callable[[Reading, Reading], float], pair: Pair, rows: np.ndarray
) -> float:
    return function(take(pair[0], rows), take(pair[1], rows))
