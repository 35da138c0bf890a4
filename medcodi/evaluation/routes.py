"""Routes as the papers write them, and the baseline that every route has: the output of the nearest
training study."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.metrics.retrieval import image_distances, nearest, text_distances

IMAGE_ROUTES = (("T", "F"), ("L", "F"), ("LT", "F"), ("T", "L"), ("F", "L"), ("FT", "L"))
REPORT_ROUTES = (("F", "T"), ("L", "T"), ("FL", "T"))
JOINT_ROUTES = (("T", "FL"), ("L", "FT"), ("F", "LT"))


def route_name(prompts: Sequence[str], outputs: Sequence[str]) -> str:
    return f"{''.join(prompts)}>{''.join(outputs)}"


def report_routes(
    context: EvaluationContext, routes: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str, str, list[Study], list[str]]]:
    """Each route to reports: its name, prompts and output, the held-out studies that it is measured
    on, and the report that was generated for each."""
    for prompts, output in routes:
        studies = context.studies.held_out([*prompts, output])
        texts = context.generations.samples(prompts, output, studies=studies)[output]
        yield route_name(prompts, output), prompts, output, studies, texts


def patients(studies: Sequence[Study]) -> list[str]:
    return [study.patient_id for study in studies]


def retrieved(
    context: EvaluationContext,
    prompts: Sequence[str],
    output: str,
    studies: Sequence[Study],
    outputs: Sequence[str] = (),
) -> list[Any]:
    """The real output of the training study whose prompts (images and reports) are nearest, for
    each study. With `outputs` only training studies that have all of these count, so that they come
    from one study."""
    needed = list(dict.fromkeys([*prompts, output, *outputs]))
    training = context.studies.training(needed)
    if not training:
        names = ", ".join(context.studies.names(needed))
        raise ValueError(f"no training study has all of {names} to retrieve from")
    return [
        context.studies.values([training[i]], output)[0]
        for i in nearest_studies(context, prompts, studies, training)
    ]


def nearest_studies(
    context: EvaluationContext,
    prompts: Sequence[str],
    studies: Sequence[Study],
    training: Sequence[Study],
) -> np.ndarray:
    """Index of the training study with the nearest prompts, for each study."""
    distances = []
    for letter in prompts:
        given, known = (
            context.studies.values(studies, letter),
            context.studies.values(training, letter),
        )
        if isinstance(given[0], str):
            distances.append(text_distances(given, known))
        else:
            distances.append(image_distances(np.stack(given), np.stack(known)))
    return nearest(*distances)


def applicable(
    context: EvaluationContext, routes: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], list[str]]:
    """The routes that some held-out study can be measured on, and a note for each other one.
    ValueError without any."""
    kept, notes = [], []
    for prompts, outputs in routes:
        reasons = context.missing([*prompts, *outputs])
        if not reasons and not context.studies.held_out([*prompts, *outputs]):
            names = ", ".join(context.studies.names([*prompts, *outputs]))
            reasons = [f"no held-out study has all of {names}"]
        if reasons:
            notes.append(f"{route_name(prompts, outputs)} is left out: {'; '.join(reasons)}.")
        else:
            kept.append((prompts, outputs))
    if not kept:
        raise ValueError(" ".join(notes))
    return kept, notes
