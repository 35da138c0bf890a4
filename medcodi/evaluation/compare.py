"""`medcodi evaluate compare A B`: two results folders, study by study.

Every metric that has a value a study (samples/*.csv) is compared on the studies that both folders
have: the difference of the means, its interval by patient, and p by approximate randomisation,
adjusted by Holm over all that is compared.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medcodi.evaluation.per_sample import Recorded, read_samples
from medcodi.metrics.hybrid import holm
from medcodi.metrics.paired import approximate_randomisation
from medcodi.metrics.statistics import Estimate, bootstrap

NOTE = (
    "A, B: means over the studies that both have. p: approximate randomisation, all studies of a "
    "patient exchanged together. Holm: adjusted for all rows of this comparison."
)
HEAD = ["table", "system", "metric", "N", "A", "B", "B - A", "p", "p (Holm)"]


@dataclass
class Comparison:
    """Means of `a` and `b` over the studies of both, and `difference` b - a. `adjusted` is Holm's
    over all rows of one call."""

    table: str
    system: str
    metric: str
    a: float
    b: float
    difference: Estimate
    p: float
    adjusted: float = 1.0


def compare(
    first: Path,
    second: Path,
    tables: Sequence[str] = (),
    num_randomisations: int = 10_000,
    num_resamples: int = 500,
    seed: int = 0,
) -> list[Comparison]:
    """What two folders of `medcodi evaluate` have in common, of `tables` (default: all).

    Raises FileNotFoundError for a folder without samples/, ValueError when nothing is common or a
    study belongs to different patients.
    """
    a, b = _read(first, tables), _read(second, tables)
    rows = []
    for key in a:
        if key in b and (paired := _paired(a[key], b[key], first, second)) is not None:
            values, groups = paired
            differences = values[1] - values[0]
            rows.append(
                Comparison(
                    *key,
                    *map(float, values.mean(axis=1)),
                    bootstrap(
                        lambda rows, d=differences: float(d[rows].mean()),
                        len(differences),
                        groups,
                        num_resamples,
                        seed,
                    ),
                    approximate_randomisation(differences, groups, num_randomisations, seed),
                )
            )
    if not rows:
        raise ValueError(
            f"{first} and {second} have no metric of the same studies in common. A has "
            f"{_told(a)}; B has {_told(b)}"
        )
    for row, adjusted in zip(rows, holm([row.p for row in rows]), strict=True):
        row.adjusted = adjusted
    return rows


def _read(folder: Path, tables: Sequence[str]) -> dict[tuple[str, str, str], Recorded]:
    paths = sorted((folder / "samples").glob("*.csv"))
    if not paths:
        raise FileNotFoundError(
            f"{folder} has no samples/*.csv: expected the output of `medcodi evaluate`"
        )
    known = [path.stem for path in paths]
    for name in tables:
        if name not in known:
            raise ValueError(f"{folder} has no values of table {name!r}: it has {', '.join(known)}")
    stale = _stale(folder)
    asked = [name for name in tables or known if name in stale]
    if asked:
        raise ValueError(
            f"{folder} has values of {', '.join(asked)} of another model, data set or settings: "
            f"measure again, or name other tables (it has {', '.join(known)})"
        )
    return {
        (path.stem, system, metric): recorded
        for path in paths
        if not tables or path.stem in tables
        for (system, metric), recorded in read_samples(path).items()
    }


def _stale(folder: Path) -> list[str]:
    """Tables that `medcodi evaluate` told to be of another model, data set or settings."""
    path = folder / "report.json"
    tables = json.loads(path.read_text(encoding="utf-8"))["tables"] if path.is_file() else {}
    return [name for name, table in tables.items() if table.get("stale")]


def _paired(
    a: Recorded, b: Recorded, first: Path, second: Path
) -> tuple[np.ndarray, list[str]] | None:
    """Values (2, N) of the studies that have one in both, and their patients; None without any."""
    place = {study: i for i, study in enumerate(b.studies)}
    pairs = [(i, place[study]) for i, study in enumerate(a.studies) if study in place]
    for i, j in pairs:
        if a.patients[i] != b.patients[j]:
            raise ValueError(
                f"study {a.studies[i]} is of patient {a.patients[i]} in {first} and of "
                f"{b.patients[j]} in {second}: they are not of the same data"
            )
    values = np.array([[a.values[i], b.values[j]] for i, j in pairs]).reshape(-1, 2).T
    known = ~np.isnan(values).any(axis=0)
    if not known.any():
        return None
    patients = [a.patients[i] for (i, _), keep in zip(pairs, known, strict=True) if keep]
    return values[:, known], patients


def _told(found: dict[tuple[str, str, str], Recorded]) -> str:
    systems = sorted({f"{table} {system}" for table, system, _ in found})
    return ", ".join(systems[:8]) + (", ..." if len(systems) > 8 else "")


def cells(row: Comparison) -> list[str]:
    """In the order of HEAD."""
    d = row.difference
    return [
        row.table,
        row.system,
        row.metric,
        str(d.n),
        f"{row.a:.4g}",
        f"{row.b:.4g}",
        f"{d.value:+.4g} [{d.low:+.4g}, {d.high:+.4g}]",
        f"{row.p:.2g}",
        f"{row.adjusted:.2g}",
    ]
