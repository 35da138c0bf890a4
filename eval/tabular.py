"""How good generated tables are: ours beside floors and other systems, on any table file.

    python eval/tabular.py oasis_cross-sectional.csv --columns configs/tables/oasis.yaml

Half of the rows train; the other half is the truth and, for the attacks, what training never saw.
`real` is the training half itself: what a perfect generator scores, and the worst that can be given
away. Seconds are CPU time. The last line of stdout is one JSON document.
"""

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from medcodi.baselines.tables import SYSTEMS
from medcodi.config_io import load_yaml, unknown_key
from medcodi.data.table import TableSchema
from medcodi.metrics.statistics import auc, bootstrap_each
from medcodi.metrics.table_privacy import (
    attribute_inference,
    nearest,
    rate_at,
    row_points,
    singling_out,
)
from medcodi.metrics.table_quality import shape_and_trend
from medcodi.metrics.table_support import (
    alpha_precision,
    beta_recall,
    boundary_adherence,
    missing_similarity,
)
from medcodi.metrics.tabular import efficacy, number_moments, two_sample
from medcodi.sources.reading import read_table
from medcodi.tabular import TabularSynthesizer
from medcodi.tabular.frame import MODELLED, read_frame

RESAMPLES, MAX_SECRETS = 20, 3
OURS = "medcodi"


def main(
    path: Annotated[Path, typer.Argument(help="csv, tsv, parquet or xlsx file")],
    columns: Annotated[
        Path | None, typer.Option(help="YAML with `columns`, as --corrections")
    ] = None,
    drop: Annotated[str, typer.Option(help="comma-separated columns that are left out")] = "",
    rows: Annotated[int, typer.Option(help="rows that are used, at random; 0: all")] = 0,
    systems: Annotated[
        str, typer.Option(help="comma-separated: " + ", ".join(SYSTEMS))
    ] = "independent,gaussian copula",
    epochs: Annotated[
        int, typer.Option(help="of the networks: CTGAN, TVAE, DRAGAN, diffusion")
    ] = 300,
    targets: Annotated[
        str, typer.Option(help="comma-separated columns that are predicted; default: the first 3")
    ] = "",
    seed: int = 0,
) -> None:
    names = [name.strip() for name in systems.split(",") if name.strip()]
    for name in names:
        if name not in SYSTEMS:
            raise unknown_key(name, SYSTEMS, "--systems")
    frame = read_table(path).replace("", None)
    frame = frame.drop(columns=[name for name in drop.split(",") if name])
    if rows:
        frame = frame.sample(min(rows, len(frame)), random_state=seed)
    rules = (load_yaml(columns) if columns else {}).get("columns", {})
    rules = {name: {k: v for k, v in rule.items() if k != "name"} for name, rule in rules.items()}
    order = np.random.default_rng(seed).permutation(len(frame))
    half = len(frame) // 2
    synthesizer = TabularSynthesizer(rules, progress=False)
    users, whole, _ = read_frame(frame, synthesizer.corrections)
    schema = TableSchema([user.column for user in users if user.role == MODELLED])
    train, truth = (_typed(whole.iloc[order[start : start + half]], schema) for start in (0, half))

    ours = functools.partial(_ours, synthesizer, frame.iloc[order[:half]])
    makers = {"real": lambda *_: lambda n: train, OURS: ours}
    makers |= {name: SYSTEMS[name] for name in names}
    found: dict[str, Any] = {}
    for name, make in makers.items():
        start = time.process_time()
        sample = make(train, schema, epochs, seed)
        fitted = time.process_time()
        made = _typed(sample(half), schema)
        seconds = {"fit_s": fitted - start, "sample_s": time.process_time() - fitted}
        wanted = [one for one in targets.split(",") if one]
        found[name] = seconds | measured(truth, made, train, schema, wanted, seed)
        figures = {k: v for k, v in found[name].items() if isinstance(v, float)}
        typer.echo(f"{name:16s} " + "  ".join(f"{k} {v:.3f}" for k, v in figures.items()))
    intervals = moment_intervals(train, schema, seed)
    document = {
        "moment_intervals": intervals,
        "file": path.name,
        "rows": 2 * half,
        "columns": schema.names,
        "seed": seed,
    }
    typer.echo(json.dumps(document | {"epochs": epochs, "systems": found}))


def _ours(
    synthesizer: TabularSynthesizer,
    frame: pd.DataFrame,
    _: pd.DataFrame,
    schema: TableSchema,
    epochs: int,
    seed: int,
) -> Callable[[int], pd.DataFrame]:
    """medcodi's own, fitted on the user's `frame`, as `SYSTEMS` are on typed rows."""
    synthesizer.fit(frame, seed)

    def sample(n: int) -> pd.DataFrame:
        made = synthesizer.sample(n, seed=seed)
        lost = [None] * n
        cells = {c.name: made.get(c.name, lost) for c in schema.columns}
        return pd.DataFrame(
            {c.name: [_stored(c, v) for v in cells[c.name]] for c in schema.columns}
        )

    return sample


def measured(
    truth: pd.DataFrame,
    made: pd.DataFrame,
    train: pd.DataFrame,
    schema: TableSchema,
    targets: list[str],
    seed: int,
) -> dict[str, Any]:
    """All figures of one system; attacks have the figure of the same attack on rows that training
    never saw beside them (`_control`)."""
    quality = shape_and_trend(truth, made, schema, num_resamples=RESAMPLES, seed=seed)
    test = two_sample(truth, made, schema, seed)["auc"].value
    points = {
        side: row_points(frame, train, schema)
        for side, frame in (("truth", truth), ("made", made), ("train", train))
    }
    scores = [-nearest(points[side], points["made"]) for side in ("train", "truth")]
    to_train, to_truth = (nearest(points["made"], points[side]) for side in ("train", "truth"))
    discrete = [column.name for column in schema.columns if column.is_discrete]
    secrets = targets or discrete[:MAX_SECRETS]
    single = singling_out(made, train, truth, schema, seed=seed)
    guessed = attribute_inference(made, train, truth, schema, secrets)
    numbers = [column.name for column in schema.columns if not column.is_discrete]
    labels = np.repeat([1, 0], [len(train), len(truth)])
    return {
        "shape": quality["shape"].value,
        "trend": quality["trend"].value,
        "c2st_auc": test,
        "c2st": 1 - abs(2 * test - 1),
        "efficacy": efficacy(made, truth, schema, _common(truth, secrets), seed).mean.value,
        "alpha_precision": alpha_precision(points["truth"], points["made"]),
        "beta_recall": beta_recall(points["truth"], points["made"]),
        "missing_similarity": missing_similarity(truth, made),
        "boundaries": boundary_adherence(train, made, schema),
        "nearer_to_train": float((to_train < to_truth).mean() + (to_train == to_truth).mean() / 2),
        "membership_auc": auc(labels, np.concatenate(scores)),
        "tpr_at_1%": rate_at(*scores, 0.01),
        "singling_out": single["attack"].value,
        "singling_out_control": single["control"].value,
        "inference": guessed["attack"].value,
        "inference_control": guessed["control"].value,
        "inference_mode": guessed["mode"].value,
        "moments": {n: number_moments(made[n].dropna().to_numpy(float)) for n in numbers},
        "correlations": made[numbers].astype(float).corr().round(4).to_dict(),
    }


def moment_intervals(
    train: pd.DataFrame, schema: TableSchema, seed: int
) -> dict[str, list[list[float]]]:
    """95 % bootstrap intervals of the moments of each column of numbers in the training rows."""
    found = {}
    for column in schema.columns:
        known = train[column.name].dropna()
        if not column.is_discrete:
            values = known.to_numpy(float)
            made = bootstrap_each(lambda r, v=values: number_moments(v[r]), len(values), seed=seed)
            found[column.name] = [[one.low, one.high] for one in made]
    return found


def _common(truth: pd.DataFrame, names: list[str]) -> list[str]:
    """Columns that a prediction can be tested on."""
    return [name for name in names if (truth[name].value_counts() >= 5).sum() > 1]


def _typed(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    return pd.DataFrame(
        {c.name: frame[c.name].astype(object if c.is_discrete else float) for c in schema.columns}
    ).reset_index(drop=True)


def _stored(column: Any, value: Any) -> Any:
    return None if value is None or value != value else column.read(value)


if __name__ == "__main__":
    typer.run(main)
