"""Table rows, real beside synthetic: moments, a two-sample test, ML efficacy; shape and trend stand
in `table_quality`.

Legend: N rows, F columns, K classes. Rows are dicts column -> value (None where missing), as the
pipeline returns them. Every figure is meant to stand beside two floors: other real rows (what a
perfect generator scores at this N) and `independent_marginals` (right columns, no relation between
them), which passes `shape` and must fail the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from medcodi.data.table import TableSchema
from medcodi.metrics.statistics import Estimate, auc, bootstrap

Rows = Sequence[dict[str, Any]]
MOMENTS = ("mean", "sd", "skewness", "kurtosis")  # the last in excess of a normal one
MIN_ROWS = 20  # below this, cross-validated trees say nothing
TREES = {"n_estimators": 100, "learning_rate": 0.1, "num_leaves": 15, "min_child_samples": 5}


def table_frame(rows: Rows, schema: TableSchema) -> pd.DataFrame:
    """Rows -> (N, F) frame: numbers as float (NaN missing), categories as text (None missing).

    ValueError for no rows, an unknown column, a value outside its categories, and an infinite
    number.
    """
    if not len(rows):
        raise ValueError("expected table rows, got none")
    if any(isinstance(v, float) and np.isinf(v) for row in rows for v in row.values()):
        raise ValueError("the table has an infinite number")
    schema.raw(list(rows))
    columns = {}
    for column in schema.columns:
        values = [None if pd.isna(row.get(column.name)) else row[column.name] for row in rows]
        if column.is_discrete:
            columns[column.name] = pd.Series(
                [None if v is None else str(v) for v in values], dtype=object
            )
        else:
            columns[column.name] = pd.Series(
                [np.nan if v is None else float(v) for v in values], dtype=float
            )
    return pd.DataFrame(columns)


def independent_marginals(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Each column permuted on its own: the floor that keeps every marginal and no relation."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {name: frame[name].to_numpy()[rng.permutation(len(frame))] for name in frame}
    )


def constant_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The most frequent category and the median of each column in every row: the constant
    baseline."""
    typical = {
        n: c.mode().iloc[0] if c.dtype == object else c.median()
        for n, c in frame.dropna(how="all", axis=1).items()
    }
    return pd.DataFrame(
        {
            name: pd.Series([typical.get(name)] * len(frame), dtype=frame[name].dtype)
            for name in frame
        }
    )


def moments(frame: pd.DataFrame, schema: TableSchema) -> list[dict[str, Any]]:
    """One dict a column: n, share missing, and mean, sd, skewness, excess kurtosis of a number
    (Radwan, Table I), or the share of each category among the known values. A moment without enough
    values is NaN."""
    described = []
    for column in schema.columns:
        known = frame[column.name].dropna()
        figures: dict[str, Any] = {
            "column": column.name,
            "n": len(known),
            "missing": 1 - len(known) / len(frame),
        }
        if column.is_discrete:
            figures["shares"] = {
                c: float((known == c).mean()) if len(known) else np.nan for c in column.categories
            }
        else:
            figures |= dict(zip(MOMENTS, number_moments(known.to_numpy(float)), strict=True))
        described.append(figures)
    return described


def number_moments(values: np.ndarray) -> list[float]:
    """`MOMENTS` of known numbers (N,); one without enough values is NaN."""
    varied = len(values) > 2 and np.ptp(values) > 0
    return [
        float(values.mean()) if len(values) else np.nan,
        float(values.std(ddof=1)) if len(values) > 1 else np.nan,
        float(stats.skew(values)) if varied else np.nan,
        float(stats.kurtosis(values)) if varied else np.nan,
    ]


def two_sample(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    schema: TableSchema,
    seed: int = 0,
    num_folds: int = 5,
    groups: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Classifier two-sample test with gradient-boosted trees (LightGBM; the state of the art uses
    XGBoost).

    Returns `auc`, an Estimate of the cross-validated AUC of telling synthetic from real rows (.5:
    cannot), and `score` = 1 - max(0, 2 auc - 1), SDMetrics' detection score (1 is best), with the
    interval of the AUC carried over. `groups` (N real + N synthetic) are the patients of the
    interval.
    """
    _enough(real, synthetic)
    from sklearn.model_selection import StratifiedKFold

    features = _features(pd.concat([real, synthetic], ignore_index=True), schema)
    labels = np.repeat([0, 1], [len(real), len(synthetic)])
    scores = np.zeros(len(labels))
    for train, test in StratifiedKFold(num_folds, shuffle=True, random_state=seed).split(
        features, labels
    ):
        scores[test] = (
            _classifier(seed)
            .fit(features.iloc[train], labels[train])
            .predict_proba(features.iloc[test])[:, 1]
        )
    estimate = bootstrap(
        lambda rows: auc(labels[rows], scores[rows]), len(labels), groups, seed=seed
    )
    value, low, high = (
        1 - max(0.0, 2 * bound - 1) for bound in (estimate.value, estimate.high, estimate.low)
    )
    return {"auc": estimate, "score": Estimate(value, low, high, estimate.n)}


@dataclass(frozen=True)
class Efficacy:
    """What a model trained on one table predicts on real test rows: `scores` target -> AUC, and
    their `mean`."""

    scores: dict[str, float]
    mean: Estimate


def efficacy(
    train: pd.DataFrame,
    test: pd.DataFrame,
    schema: TableSchema,
    targets: Sequence[str] | None = None,
    seed: int = 0,
    groups: Sequence[Any] | None = None,
) -> Efficacy:
    """Train trees on `train`, test on real rows: AUC of each discrete target (one against the rest,
    averaged over its classes) from all other columns. `targets` default to every discrete column of
    which the test rows hold two classes with 5 or more rows; `groups` (N test) are the patients of
    the interval. A target of which `train` knows one class only predicts a constant: AUC .5.

    ValueError for a target that is not discrete, for no target at all, and for fewer than 20 rows.
    """
    _enough(train, test)
    discrete = [column.name for column in schema.columns if column.is_discrete]
    if unknown := sorted(set(targets or ()) - set(discrete)):
        raise ValueError(
            f"efficacy targets must be discrete columns, got {unknown}; there are {discrete}"
        )
    targets = [t for t in targets or discrete if (test[t].value_counts() >= 5).sum() > 1]
    if not targets:
        raise ValueError(
            "ML efficacy needs a discrete column with two classes of 5 or more test rows: there is "
            "none"
        )
    predicted = {target: _predict(train, test, schema, target, seed) for target in targets}

    def mean(rows: np.ndarray) -> float:
        values = [_mean_auc(truth[rows], scores[rows]) for truth, scores in predicted.values()]
        return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan

    scores = {target: _mean_auc(truth, scores) for target, (truth, scores) in predicted.items()}
    return Efficacy(scores, bootstrap(mean, len(test), groups, seed=seed, num_resamples=300))


def _predict(
    train: pd.DataFrame, test: pd.DataFrame, schema: TableSchema, target: str, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Truth (N, K) 0/1 with NaN rows where the target is missing, and scores (N, K), over classes
    of 5 or more test rows."""
    counts = test[target].value_counts()
    classes = sorted(counts[counts >= 5].index)
    if len(classes) == 2:
        classes = classes[1:]
    known = train[target].notna()
    inputs = (
        _features(train[known].drop(columns=target), schema),
        _features(test.drop(columns=target), schema),
    )
    truth, scores = np.zeros((len(test), len(classes))), np.zeros((len(test), len(classes)))
    for k, name in enumerate(classes):
        labels = (train[target][known] == name).to_numpy(int)
        truth[:, k] = np.where(test[target].notna(), test[target] == name, np.nan)
        if 0 < labels.sum() < len(labels):
            scores[:, k] = _classifier(seed).fit(inputs[0], labels).predict_proba(inputs[1])[:, 1]
    return truth, scores


def _mean_auc(truth: np.ndarray, scores: np.ndarray) -> float:
    known = ~np.isnan(truth[:, 0])
    values = [auc(t, s) for t, s in zip(truth[known].T, scores[known].T, strict=True)]
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan


def _features(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    """Categories as pandas categoricals with the schema's levels, so that train and test agree."""
    columns = {
        c.name: pd.Categorical(frame[c.name], c.categories)
        if c.is_discrete
        else frame[c.name].to_numpy()
        for c in schema.columns
        if c.name in frame
    }
    return pd.DataFrame(columns)


def _classifier(seed: int) -> Any:
    try:
        from lightgbm import LGBMClassifier
    except ImportError:
        raise ValueError(
            "two-sample test and ML efficacy need lightgbm: pip install 'medcodi[eval]'"
        ) from None
    return LGBMClassifier(**TREES, random_state=seed, n_jobs=1, verbose=-1, deterministic=True)


def _enough(*frames: pd.DataFrame) -> None:
    if min(map(len, frames)) < MIN_ROWS:
        raise ValueError(
            f"expected {MIN_ROWS} rows or more on each side, got {[len(frame) for frame in frames]}"
        )
