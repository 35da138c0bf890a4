"""The chest phantom: procedural patients with radiographs, reports and clinical rows whose truth is
known.

It is a test body for software; it is not clinical data.
"""

import math
import multiprocessing
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, NamedTuple

from medcodi.data.study import Study
from medcodi.phantom.anatomy import Patient, findings, generator_for, sample_patient, truth_of
from medcodi.phantom.reading import read_report
from medcodi.phantom.render import project, render
from medcodi.phantom.report import write_report
from medcodi.phantom.table import SCHEMA, bayes_auc, draw_row, outcome_probability

__all__ = [
    "SCHEMA",
    "Patient",
    "bayes_auc",
    "draw_row",
    "findings",
    "generate",
    "make_study",
    "outcome_probability",
    "project",
    "read_report",
    "render",
    "sample_patient",
    "truth_of",
    "write_report",
]

_CHUNK = 32


class Parts(NamedTuple):
    """What is made of one patient, or a number for each of these; a field's name is the default
    modality name."""

    frontal: Any
    lateral: Any
    report: Any
    tabular: Any


ABSENCE_RATES = Parts(frontal=0.0, lateral=0.08, report=0.05, tabular=0.08)


def make_study(
    seed: int,
    index: int,
    size: int = 64,
    names: Mapping[str, str] | None = None,
    visits: int = 1,
    exposure: float = 1.0,
) -> Study:
    """Study `index` of the population `seed`, in which every patient has `visits` studies.

    `size` is the side of both images in pixels. `names` renames the parts of `Parts` to modality
    names; a part that it does not name keeps its own. Images are float32 (size, size) in [0, 1].
    Grey values are raised to the power of `exposure`: above 1 the images are darker, as those of
    another machine. Some parts are absent (`ABSENCE_RATES`), the frontal image never. `truth` is
    complete whatever is absent.
    """
    names = names or {}
    if unknown := set(names) - set(Parts._fields):
        raise ValueError(
            f"names: unknown part {sorted(unknown)}, the phantom has {', '.join(Parts._fields)}"
        )
    if visits < 1:
        raise ValueError(f"a patient has one visit or more, got {visits}")
    if not 0 < exposure < math.inf:
        raise ValueError(f"exposure must be a positive number, got {exposure}")
    who, visit = divmod(index, visits)
    streams = {p: generator_for(seed, who, p, visit) for p in ("report", "table", "absence")}
    patient = sample_patient(seed, who, visit)
    frontal, lateral = render(patient, size)
    if exposure != 1:
        frontal, lateral = frontal**exposure, lateral**exposure
    report, row = write_report(patient, streams["report"]), draw_row(patient, streams["table"])
    parts = Parts(frontal, lateral, report, row)
    chances = streams["absence"].random(len(parts))
    values = {
        names.get(part, part): value
        for part, value, chance, rate in zip(
            Parts._fields, parts, chances, ABSENCE_RATES, strict=True
        )
        if chance >= rate
    }
    truth = truth_of(patient) | {"outcome_probability": outcome_probability(patient)}
    return Study(f"phantom-{index:06d}", f"phantom-patient-{seed}-{who:06d}", values, truth)


def generate(
    num_studies: int,
    seed: int = 0,
    size: int = 64,
    num_processes: int = 1,
    names: Mapping[str, str] | None = None,
    visits: int = 1,
    exposure: float = 1.0,
) -> Iterator[Study]:
    """Studies 0 to `num_studies` - 1 in order, the same bits for every `num_processes`."""
    make = partial(_make_chunk, seed=seed, size=size, names=names, visits=visits, exposure=exposure)
    chunks = [
        range(start, min(start + _CHUNK, num_studies)) for start in range(0, num_studies, _CHUNK)
    ]
    if num_processes <= 1:
        for chunk in chunks:
            yield from make(chunk)
        return
    # A fork server is free of the caller's threads; a bounded queue keeps memory flat behind a slow
    # consumer.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(num_processes, mp_context=context) as pool:
        pending: deque = deque()
        for chunk in chunks:
            pending.append(pool.submit(make, chunk))
            if len(pending) > 3 * num_processes:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _make_chunk(
    indices: range,
    seed: int,
    size: int,
    names: Mapping[str, str] | None,
    visits: int,
    exposure: float,
) -> list[Study]:
    return [make_study(seed, index, size, names, visits, exposure) for index in indices]
