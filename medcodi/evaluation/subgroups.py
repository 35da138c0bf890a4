"""Figures by subgroup of patients (sex, age band, projection), with the gap between groups.

The columns are those of the study's table row. A gap is never negative: beside it stands its floor,
the gap between groups of the same sizes whose patients were drawn at random.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from medcodi.config_io import unknown_key
from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.evaluation.per_sample import SampleValues
from medcodi.metrics.statistics import spread

DEFAULT: dict[str, list[float]] = {"sex": [], "age": [40, 65], "projection": []}
LEAST_PATIENTS = 5  # a smaller group has figures, and no part in the gap
NUM_SHUFFLES = 200


def chosen_columns(
    given: Mapping[str, Any] | None, schema: TableSchema | None
) -> dict[str, list[float]]:
    """Column -> edges of the bands of a number, [] for a category. None takes the usual ones as far
    as the table has them; a named one must be there, and a category has no edges (ValueError)."""
    have = {column.name: column for column in schema.columns} if schema else {}
    if given is None:
        usual = {name: edges for name, edges in DEFAULT.items() if name in have}
        return {name: [] if have[name].is_discrete else edges for name, edges in usual.items()}
    for name, edges in given.items():
        if name not in have:
            raise unknown_key(name, list(have), "evaluation.subgroups (columns of the table)")
        if edges and have[name].is_discrete:
            raise ValueError(
                f"evaluation.subgroups.{name}: {name!r} is {have[name].type} and has groups "
                f"already; [] takes them, got {edges}"
            )
    return {name: sorted(float(edge) for edge in edges or []) for name, edges in given.items()}


def group_of(value: Any, edges: Sequence[float]) -> str | None:
    """Name of the group of a cell; None where it is missing. With edges [40, 65]: below 40, 40 to
    below 65, 65 and above."""
    if value is None:
        return None
    if not edges:
        return str(value)
    place = int(np.searchsorted(edges, float(value), side="right"))
    names = [f"{edge:g}" for edge in edges]
    if place == 0:
        return f"below {names[0]}"
    return (
        f"{names[-1]} and above"
        if place == len(names)
        else f"{names[place - 1]} to below {names[place]}"
    )


def subgroup_rows(
    samples: Sequence[SampleValues],
    table: str,
    columns: Mapping[str, Sequence[float]],
    num_resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """One row a metric and column: {system, metric, column, groups: {name: estimate}, gap, floor}.

    `table` is the modality of the row. Means of the values by study; intervals by patient. `gap` is
    the highest mean minus the lowest, over groups of five patients or more.
    """
    rows = []
    for one in samples:
        for column, edges in columns.items():
            groups = [_group(study, table, column, edges) for study in one.studies]
            told = _by_group(one, groups, num_resamples, seed)
            if told:
                rows.append({"system": one.system, "metric": one.metric, "column": column, **told})
    return rows


def _group(study: Study, table: str, column: str, edges: Sequence[float]) -> str | None:
    return group_of((study.values.get(table) or {}).get(column), edges)


def _by_group(
    one: SampleValues, groups: list[str | None], num_resamples: int, seed: int
) -> dict[str, Any] | None:
    kept = [i for i, g in enumerate(groups) if g is not None and not np.isnan(one.values[i])]
    names = sorted({groups[i] for i in kept})
    if len(names) < 2:
        return None
    values = one.values[kept]
    _, patient = np.unique([one.studies[i].patient_id for i in kept], return_inverse=True)
    member = np.array([names.index(groups[i]) for i in kept])
    rng, num_patients = np.random.default_rng(seed), patient.max() + 1
    # how often each patient is drawn, (R, P): the first row is the sample itself
    drawn = rng.multinomial(num_patients, np.full(num_patients, 1 / num_patients), num_resamples)
    weights = np.concatenate([np.ones((1, num_patients)), drawn])
    means = _means(values, patient, member, len(names), weights)  # (1 + R, G)
    patients = [len(set(patient[member == g])) for g in range(len(names))]
    counted = [g for g, number in enumerate(patients) if number >= LEAST_PATIENTS]
    told: dict[str, Any] = {
        "groups": {
            name: asdict(spread(means[0, g], means[1:, g], int((member == g).sum())))
            for g, name in enumerate(names)
        },
        "gap": None,
        "floor": None,
    }
    if len(counted) >= 2:
        gaps = np.ptp(means[:, counted], axis=1)
        told["gap"] = asdict(spread(gaps[0], gaps[1:], len(values)))
        told["floor"] = _floor(values, patient, member, counted, rng)
    return told


def _means(
    values: np.ndarray, patient: np.ndarray, member: np.ndarray, count: int, weights: np.ndarray
) -> np.ndarray:
    """Mean of each group (R, G) when patients count `weights` (R, P) times; NaN for an empty
    group."""
    sums, sizes = (
        np.stack(
            [
                np.bincount(patient[member == g], x[member == g], weights.shape[1])
                for g in range(count)
            ]
        )
        for x in (values, np.ones_like(values))
    )  # (G, P)
    with np.errstate(invalid="ignore"):
        return (weights @ sums.T) / (weights @ sizes.T)


def _floor(
    values: np.ndarray,
    patient: np.ndarray,
    member: np.ndarray,
    counted: list[int],
    rng: np.random.Generator,
) -> float:
    """Mean gap when patients change places, so that groups keep their numbers of patients; where a
    patient is in several groups (another projection), when studies do."""
    of_patient = member[np.unique(patient, return_index=True)[1]]  # (P,)
    by_patient = (of_patient[patient] == member).all()
    count, one = member.max() + 1, np.ones((1, len(of_patient)))
    gaps = []
    for _ in range(NUM_SHUFFLES):
        drawn = rng.permutation(of_patient)[patient] if by_patient else rng.permutation(member)
        gaps.append(np.ptp(_means(values, patient, drawn, count, one)[0, counted]))
    return float(np.nanmean(gaps))
