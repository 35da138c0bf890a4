"""How good generated tables are: ours beside floors and other systems, on any csv file.

    python eval/tabular.py oasis_cross-sectional.csv --columns configs/tables/oasis.yaml

Half of the rows train, the other half is the truth. Floors: `real` (the training half itself),
`independent` (its columns permuted). CTGAN and TVAE run where the package ctgan is installed
(BUSL-1.1, optional). The last line of stdout is one JSON document.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from scipy.spatial import cKDTree

from medcodi.baselines.gaussian_copula import GaussianCopula
from medcodi.config_io import load_yaml
from medcodi.data.table import TableSchema
from medcodi.metrics.table_quality import shape_and_trend
from medcodi.metrics.tabular import independent_marginals, number_moments, two_sample
from medcodi.sources.reading import read_table
from medcodi.tabular import TabularSynthesizer
from medcodi.tabular.frame import MODELLED, read_frame
from medcodi.tabular.states import ColumnStates

RESAMPLES = 50


def main(
    path: Annotated[Path, typer.Argument(help="csv, tsv, parquet or xlsx file")],
    columns: Annotated[
        Path | None, typer.Option(help="YAML with `columns`, as --corrections")
    ] = None,
    rows: Annotated[int, typer.Option(help="rows that are used, at random; 0: all")] = 0,
    ctgan_epochs: Annotated[int, typer.Option(help="epochs of CTGAN and TVAE; 0: leave out")] = 0,
    seed: int = 0,
) -> None:
    frame = read_table(path).replace("", None)
    if rows:
        frame = frame.sample(min(rows, len(frame)), random_state=seed)
    rules = (load_yaml(columns) if columns else {}).get("columns", {})
    rules = {name: {k: v for k, v in rule.items() if k != "name"} for name, rule in rules.items()}
    order = np.random.default_rng(seed).permutation(len(frame))
    half = len(frame) // 2
    train = frame.iloc[order[:half]]
    synthesizer = TabularSynthesizer(rules, progress=False)
    users, whole, _ = read_frame(frame, synthesizer.corrections)
    schema = TableSchema([user.column for user in users if user.role == MODELLED])
    stored = {"train": whole.iloc[order[:half]], "truth": whole.iloc[order[half : 2 * half]]}
    stored = {name: part.reset_index(drop=True) for name, part in stored.items()}

    def ours() -> pd.DataFrame:
        made = synthesizer.fit(train, seed).sample(half, seed=seed)
        cells = {
            c.name: [_stored(c, v) for v in made[c.name]] for c in schema.columns if c.name in made
        }
        return pd.DataFrame({c.name: cells.get(c.name, [None] * half) for c in schema.columns})

    systems: dict[str, Callable[[], pd.DataFrame]] = {
        "real": lambda: stored["train"],
        "independent": lambda: independent_marginals(stored["train"], seed),
        "gaussian copula": lambda: _copula(schema, stored["train"], seed),
        "medcodi": ours,
    }
    if ctgan_epochs:
        systems |= {
            name: lambda name=name: _ctgan(name, schema, stored["train"], ctgan_epochs, seed)
            for name in ("CTGAN", "TVAE")
        }
    found: dict[str, Any] = {}
    for name, make in systems.items():
        start = time.perf_counter()
        made = _numbers(make(), schema)
        found[name] = {"seconds": time.perf_counter() - start} | measured(
            _numbers(stored["truth"], schema), made, _numbers(stored["train"], schema), schema, seed
        )
        typer.echo(
            f"{name:16s} "
            + "  ".join(f"{k} {v:.3f}" for k, v in found[name].items() if isinstance(v, float))
        )
    document = {
        "file": path.name,
        "rows": 2 * half,
        "columns": schema.names,
        "seed": seed,
        "systems": found,
    }
    typer.echo(json.dumps(document))


def measured(
    truth: pd.DataFrame, made: pd.DataFrame, train: pd.DataFrame, schema: TableSchema, seed: int
) -> dict[str, Any]:
    """Shape, trend, score of the two-sample test, difference of missing shares, share of rows that
    lie nearer to a training row than the median truth row does, and moments."""
    quality = shape_and_trend(truth, made, schema, num_resamples=RESAMPLES, seed=seed)
    test = two_sample(truth, made, schema, seed)
    lost = np.abs(truth.isna().mean() - made.isna().mean()).mean()
    distances = [_nearest(rows, train, schema) for rows in (truth, made)]
    numbers = [column.name for column in schema.columns if not column.is_discrete]
    return {
        "shape": quality["shape"].value,
        "trend": quality["trend"].value,
        "c2st_auc": test["auc"].value,
        "c2st": test["score"].value,
        "missing_difference": float(lost),
        "nearer_than_truth": float((distances[1] < np.median(distances[0])).mean()),
        "moments": {n: number_moments(made[n].dropna().to_numpy(float)) for n in numbers},
    }


def _nearest(rows: pd.DataFrame, others: pd.DataFrame, schema: TableSchema) -> np.ndarray:
    """Distance of each row to the nearest other one: numbers in standard deviations, categories and
    missing cells as 0 and 1."""

    def points(frame: pd.DataFrame) -> np.ndarray:
        parts = []
        for column in schema.columns:
            cells = frame[column.name]
            if column.is_discrete:
                parts += [(cells == category).to_numpy(float) for category in column.categories]
            else:
                spread = float(others[column.name].std()) or 1.0
                parts.append((cells.fillna(others[column.name].mean()) / spread).to_numpy(float))
            parts.append(cells.isna().to_numpy(float))
        return np.stack(parts, axis=1)

    return cKDTree(points(others)).query(points(rows))[0]


def _numbers(frame: pd.DataFrame, schema: TableSchema) -> pd.DataFrame:
    return pd.DataFrame(
        {c.name: frame[c.name].astype(object if c.is_discrete else float) for c in schema.columns}
    )


def _stored(column: Any, value: Any) -> Any:
    return None if value is None or value != value else column.read(value)


def _copula(schema: TableSchema, train: pd.DataFrame, seed: int) -> pd.DataFrame:
    raw = schema.raw(train.astype(object).where(train.notna(), None).to_dict("records"))
    for column, values in zip(schema.columns, raw.T, strict=True):
        if not column.is_discrete:
            column.fit(values[~np.isnan(values)])
    states = [ColumnStates.fit(c, v) for c, v in zip(schema.columns, raw.T, strict=True)]
    table = np.stack([s.encode(v) for s, v in zip(states, raw.T, strict=True)], axis=1)
    made = GaussianCopula.fit(states, table, seed).sample(len(train), seed)
    return pd.DataFrame({s.column.name: s.stored(v) for s, v in zip(states, made.T, strict=True)})


def _ctgan(
    name: str, schema: TableSchema, train: pd.DataFrame, epochs: int, seed: int
) -> pd.DataFrame:
    """CTGAN or TVAE by their authors' package; missing categories are a category, missing numbers
    the mean beside a flag column, because the package takes no missing values."""
    try:
        import ctgan
    except ImportError:
        raise ValueError("CTGAN and TVAE need the package ctgan: pip install ctgan") from None
    given, discrete = {}, []
    for column in schema.columns:
        cells = train[column.name]
        if column.is_discrete:
            given[column.name] = cells.fillna("(missing)")
            discrete.append(column.name)
        else:
            given[column.name] = cells.astype(float).fillna(cells.astype(float).mean())
            if cells.isna().any():
                given[f"{column.name} missing"] = cells.isna().map(str)
                discrete.append(f"{column.name} missing")
    model = getattr(ctgan, name)(epochs=epochs, verbose=False)
    model.set_random_state(seed)
    model.fit(pd.DataFrame(given), discrete)
    made = model.sample(len(train))
    for column in schema.columns:
        if column.is_discrete:
            made[column.name] = made[column.name].replace("(missing)", None)
        elif f"{column.name} missing" in made:
            made[column.name] = made[column.name].where(made[f"{column.name} missing"] != "True")
    return made[schema.names]


if __name__ == "__main__":
    typer.run(main)
