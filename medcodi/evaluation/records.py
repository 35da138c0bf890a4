"""What the tables of utility, hybrid, tabular and privacy share: their options, and joint records
of studies."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from medcodi.config_io import unknown_key
from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.studies import HELD_OUT
from medcodi.metrics.networks.fitting import FitSettings

RECORD = (
    "F",
    "T",
    "table",
)  # what one unconditional joint sample holds, as far as the recipe has it
SMALL_IMAGE = 128  # pixels; up to here the default network is the tiny one


def fit_settings(fit: dict[str, Any], size: int, where: str) -> FitSettings:
    """Settings of a network for images of `size` pixels: DenseNet-121, for small ones `tiny` and a
    short training; `fit` (the recipe's) over these."""
    fields = [field.name for field in dataclasses.fields(FitSettings)]
    for key in fit:
        if key not in fields:
            raise unknown_key(key, fields, f"{where}.fit")
    small = (
        {"network": "tiny", "num_epochs": 12, "min_steps": 60, "learning_rate": 3e-3}
        if size <= SMALL_IMAGE
        else {}
    )
    device = {"device": "cuda"} if torch.cuda.is_available() else {}
    return FitSettings(**(small | device | fit))


def record_letters(context: EvaluationContext, needed: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of F, T and table that the recipe and the held-out studies have."""
    return tuple(letter for letter in RECORD if letter in needed or not context.missing([letter]))


def generated_records(context: EvaluationContext, count: int) -> dict[str, list[Any]]:
    """`count` unconditional joint samples, letter -> values. Training studies only lend their ids
    as seeds."""
    letters = record_letters(context)
    studies = context.studies.training(letters, count)
    if len(studies) < count:
        raise ValueError(
            f"{count} samples are seeded by as many training studies, there are {len(studies)}: "
            "lower num_records"
        )
    return context.generations.samples((), letters, studies=studies)


def real_test(context: EvaluationContext, letters: Sequence[str], count: int) -> list[Study]:
    """Up to `count` studies of test, then of validation, that have all of `letters`: more than are
    generated for."""
    studies = context.studies.of(HELD_OUT, letters, count)
    if not studies:
        raise ValueError(
            f"no held-out study has all of {', '.join(context.studies.names(letters))}"
        )
    return studies
