"""Does generation follow its prompt, and do joint outputs belong together? Measured with the
phantom's ground truth.

Outputs of every kind are first *read* (images by a `PhantomReader`, which was fitted on real
images, never on generated ones; reports by `read_report`; table rows by their columns). A figure is
a statistic of a reading and the truth, and stands beside its floors (shuffled prompts, nearest
neighbour, constant) and its ceiling (the real outputs, read alike).

Legend: N studies, H W pixels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from medcodi.metrics import statistics
from medcodi.metrics.networks.phantom_reader import LABELS, SITES, PhantomReader, label_table
from medcodi.metrics.statistics import Estimate, auc, f1, kappa, macro_f1, pearson, spearman
from medcodi.phantom import read_report
from medcodi.phantom.anatomy import HEART_GRADES

Reading = dict[str, np.ndarray]  # what is read from N outputs: name -> (N,) float

KEY_FINDINGS = ("effusion_left", "effusion_right", "cardiomegaly", "consolidation")
REPORT_FINDINGS = (
    *KEY_FINDINGS,
    "edema",
    "atelectasis",
    "pneumothorax",
    "nodule",
    "pacemaker",
    "central_line",
    "endotracheal_tube",
)
BINARY_COLUMNS = {
    "last_status": "deceased",
    "is_icu": "true",
    "was_ventilated": "yes",
    "acute_kidney_injury": "yes",
}
NUMERIC_COLUMNS = {
    "oxygen_saturation": -1,
    "respiratory_rate": 1,
    "length_of_stay": 1,
}  # sign of its tie to the risk
NUM_SHUFFLES = 20


def _consolidation_side(site: str | None) -> float:
    """+1 left, -1 right, 0 none or behind the heart."""
    return 0.0 if not site else float(site.startswith("left")) - float(site.startswith("right"))


def truth_reading(truths: Sequence[Mapping[str, Any]]) -> Reading:
    """Truth dicts -> 0/1 findings, sides (+1 left only, -1 right only, 0 else), `ctr` and `risk`,
    the probability of death."""
    read = dict(zip(LABELS, label_table(list(truths)).T.astype(float), strict=True))
    read |= {
        key: np.array([float(t[key]) for t in truths])
        for key in ("central_line", "endotracheal_tube", "ctr")
    }
    read["risk"] = np.array([t["outcome_probability"] for t in truths])
    read["effusion_side"] = read["effusion_left"] - read["effusion_right"]
    read["consolidation_side"] = np.array([_consolidation_side(t["consolidation"]) for t in truths])
    return read


def image_reading(reader: PhantomReader, images: np.ndarray) -> Reading:
    """Images (N, H, W) in [0, 1] -> probabilities of the findings, sides as differences of them,
    and `ctr`."""
    read = dict(reader.read(images))
    read["effusion_side"] = read["effusion_left"] - read["effusion_right"]
    sites = {
        side: sum(read[f"consolidation_{s}"] for s in SITES if s.startswith(side))
        for side in ("left", "right")
    }
    read["consolidation_side"] = sites["left"] - sites["right"]
    return read


def report_reading(texts: Sequence[str]) -> Reading:
    """Reports -> 0/1 findings (not mentioned counts as absent), sides, and `ctr` as the grade of
    the heart, 0 to 3."""
    stated = [read_report(text) for text in texts]
    read = {
        k: np.array([s[k] not in (None, "none", False) for s in stated], float)
        for k in REPORT_FINDINGS
    }
    grades = [name for _, name in HEART_GRADES]
    read["ctr"] = np.array([grades.index(s["heart"] or "normal") for s in stated], float)
    read["effusion_side"] = read["effusion_left"] - read["effusion_right"]
    read["consolidation_side"] = np.array([_consolidation_side(s["consolidation"]) for s in stated])
    return read


def table_reading(rows: Sequence[Mapping[str, Any]]) -> Reading:
    """Table rows -> outcome-related columns as numbers, NaN where missing."""

    def column(name: str, convert: Callable[[Any], float]) -> np.ndarray:
        return np.array(
            [math.nan if row.get(name) is None else convert(row[name]) for row in rows], float
        )

    read = {
        name: column(name, lambda v, p=positive: float(v == p))
        for name, positive in BINARY_COLUMNS.items()
    }
    return read | {name: column(name, float) for name in NUMERIC_COLUMNS}


@dataclass(frozen=True)
class Metric:
    """`function(read, truth) -> value`, more is better. `constant(truth)` is the value of the best
    output that ignores
    its prompt (None: it is computed from a constant output); `rows(truth)` (N,) bool restricts the
    studies; `positives(read, truth)` counts the positive cases that an AUC or F1 rests on."""

    name: str
    function: Callable[[Reading, Reading], float]
    constant: Callable[[Reading], float] | None = None
    rows: Callable[[Reading], np.ndarray] | None = None
    positives: Callable[[Reading, Reading], float] | None = None


def _auc_of(key: str, name: str, rows: Callable[[Reading], np.ndarray] | None = None) -> Metric:
    return Metric(
        name,
        lambda read, truth: auc(truth[key] > 0, read[key]),
        lambda truth: 0.5,
        rows,
        lambda read, truth: (truth[key] > 0).sum(),
    )


def _one_sided(key: str) -> Callable[[Reading], np.ndarray]:
    return lambda truth: truth[key] != 0


def _mean_auc(read: Reading, truth: Reading) -> float:
    return float(np.mean([auc(truth[key] > 0, read[key]) for key in KEY_FINDINGS]))


IMAGE_METRICS = (
    Metric("mean AUC of the four findings", _mean_auc, lambda truth: 0.5),
    *(_auc_of(key, f"{key.replace('_', ', ')}: AUC") for key in KEY_FINDINGS),
    _auc_of("effusion_side", "side of a one-sided effusion: AUC", _one_sided("effusion_side")),
    _auc_of("consolidation_side", "side of a consolidation: AUC", _one_sided("consolidation_side")),
    Metric(
        "cardiothoracic ratio: Pearson r",
        lambda r, t: pearson(r["ctr"], t["ctr"]),
        lambda truth: 0.0,
    ),
)


def _findings(read: Reading) -> np.ndarray:
    return np.stack([read[key] for key in REPORT_FINDINGS], axis=1) > 0  # (N, K)


def _f1_of(key: str) -> Metric:
    return Metric(
        f"{key.replace('_', ', ')}: F1",
        lambda read, truth: f1(truth[key], read[key]),
        positives=lambda read, truth: truth[key].sum(),
    )


def _side_accuracy(key: str, name: str) -> Metric:
    return Metric(
        name,
        lambda read, truth: (
            float((read[key] == truth[key]).mean()) if len(truth[key]) else math.nan
        ),
        lambda truth: (
            float(max((truth[key] > 0).mean(), (truth[key] < 0).mean()))
            if len(truth[key])
            else math.nan
        ),
        _one_sided(key),
    )


REPORT_METRICS = (
    Metric("11 findings: micro F1", lambda read, truth: f1(_findings(truth), _findings(read))),
    Metric(
        "11 findings: macro F1", lambda read, truth: macro_f1(_findings(truth), _findings(read))
    ),
    *(_f1_of(key) for key in KEY_FINDINGS),
    _side_accuracy("effusion_side", "side of a one-sided effusion: accuracy"),
    _side_accuracy("consolidation_side", "side of a consolidation: accuracy"),
    Metric(
        "heart grade with true ratio: Spearman",
        lambda r, t: spearman(r["ctr"], t["ctr"]),
        lambda truth: 0.0,
    ),
)


def _risk_auc(column: str) -> Callable[[Reading, Reading], float]:
    """How well the true risk separates the rows that say yes from those that say no: a generated
    row is one draw, so its column plays the label and the truth the score."""

    def value(read: Reading, truth: Reading) -> float:
        known = ~np.isnan(read[column])
        return auc(read[column][known] > 0, truth["risk"][known])

    return value


def _mean_risk_auc(read: Reading, truth: Reading) -> float:
    """Over the columns in which both answers occur."""
    values = [_risk_auc(column)(read, truth) for column in BINARY_COLUMNS]
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


TABLE_METRICS = (
    Metric("mean AUC of the four outcomes", _mean_risk_auc, lambda truth: 0.5),
    *(
        Metric(
            f"{column.replace('_', ' ')} by true risk: AUC",
            _risk_auc(column),
            lambda truth: 0.5,
            None,
            lambda read, truth, c=column: np.nansum(read[c]),
        )
        for column in BINARY_COLUMNS
    ),
    *(
        Metric(
            f"{'low ' if sign < 0 else ''}{column.replace('_', ' ')} with true risk: Spearman",
            lambda read, truth, c=column, s=sign: s * spearman(read[c], truth["risk"]),
            lambda truth: 0.0,
        )
        for column, sign in NUMERIC_COLUMNS.items()
    ),
)


@dataclass(frozen=True)
class Outputs:
    """Readings of the same N studies: what was generated, the real outputs, the outputs of the
    training study with the nearest prompt, and one constant output (None where the metrics know its
    value)."""

    generated: Reading
    real: Reading
    nearest: Reading
    constant: Reading | None = None


def take(read: Reading, rows: np.ndarray) -> Reading:
    return {key: column[rows] for key, column in read.items()}


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
        rows = np.arange(num_studies) if metric.rows is None else np.flatnonzero(metric.rows(truth))
        estimate = statistics.bootstrap(
            partial(_value, metric, outputs.generated, truth, rows),
            len(rows),
            None if groups is None else [groups[i] for i in rows],
            num_resamples,
            seed,
        )
        figures.append(
            {"route": route, "metric": metric.name, **_estimate(estimate), "n": len(rows)}
            | _context(metric, truth, outputs, shuffled, rows, estimate)
        )
    return figures


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
) -> list[dict[str, Any]]:
    """Agreement of the two outputs of a study, generated jointly and independently from the SAME
    seeds and prompts.

    One figure a metric: {setting, pair, metric, joint, independent, difference (each value and
    interval), n, floors, ceiling}; the difference is paired by sample. `floors.shuffled` pairs
    joint outputs of different samples.
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
    return figures


def _pair_value(
    function: Callable[[Reading, Reading], float], pair: Pair, rows: np.ndarray
) -> float:
    return function(take(pair[0], rows), take(pair[1], rows))
