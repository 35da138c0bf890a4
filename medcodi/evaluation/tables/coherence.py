"""T6: do outputs that are generated together belong together? Cosine in a shared space (MedCoDi-M,
Table 6)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.per_sample import SampleValues
from medcodi.evaluation.routes import JOINT_ROUTES, applicable, patients, retrieved, route_name
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.coherence import cosine, shuffled_cosine
from medcodi.metrics.statistics import bootstrap, paired_difference

MODEL, OWN = "the model's shared space", "independent encoder"
COLUMNS = ["encoder", "cosine", "joint - independent"]
NOTES = (
    "Independent: every output by a call of its own with the same prompt and seed; the two differ "
    "by the coupling of the outputs alone. Shuffled: outputs of different studies.",
    "Nearest training study: the real outputs of the study with the nearest prompt. One training "
    "study for all: that of these with the highest cosine. Both are real pairs: coherence does not "
    "show that a prompt is followed.",
    "The independent encoder (convolutional towers, hashed words) is trained by the suite on real "
    "training studies. Spaces differ: compare within one encoder, against its real pairs.",
)
Pair = dict[str, list[Any]]


@register_table
class Coherence(EvaluationTable):
    """Joint against independent outputs of the same prompts and seeds, in the model's own space and
    in an encoder that its training never saw."""

    id, title, needs = "T6", "Coherence of joint outputs", ("pipeline", "F", "L", "T")
    version = 3

    def run(self, context: EvaluationContext) -> Result:
        routes, notes = applicable(context, JOINT_ROUTES)
        encoders = {
            MODEL: self._shared_space,
            OWN: lambda c, letter, v: c.networks.coherence().encode(c.studies.name(letter), v),
        }
        rows: list[Row] = []
        samples: list[SampleValues] = []
        num_studies = 0
        for prompts, outputs in routes:
            route = route_name(prompts, outputs)
            studies = context.studies.held_out([*prompts, *outputs])
            systems = _systems(context, prompts, outputs, studies)
            spoken = _spoken(systems)
            if not spoken.all():
                blank = int((~spoken).sum())
                notes.append(f"{route}: {blank} studies with an empty report are left out.")
            kept = [study for study, keep in zip(studies, spoken, strict=True) if keep]
            groups = patients(kept)
            num_studies = max(num_studies, len(groups))
            for encoder, encode in encoders.items():
                codes = {
                    system: [
                        encode(context, letter, _take(pair[letter], spoken)) for letter in outputs
                    ]
                    for system, pair in systems.items()
                }
                rows += _rows(context, route, encoder, codes, groups)
                samples += [
                    SampleValues(f"{route}, {k}", f"cosine, {encoder}", kept, cosine(*codes[k]))
                    for k in ("joint", "independent", "real")
                ]
        rows += published("T6")
        notes += NOTES
        figures = {
            f"{row.system}.{row.cells['encoder']}.{c}": row.value(c)
            for row in rows
            if row.kind == "ours"
            for c in COLUMNS[1:]
            if c in row.cells
        }
        seeds = [context.seed]
        return Result(
            self.title, COLUMNS, rows, num_studies, seeds, notes, figures, samples=samples
        )

    @staticmethod
    @torch.no_grad()
    def _shared_space(context: EvaluationContext, letter: str, values: Sequence[Any]) -> np.ndarray:
        parts = [values[i : i + 64] for i in range(0, len(values), 64)]
        embeds = [
            context.generations.pipeline.encode_prompt(
                context.studies.name(letter), list(part)
            ).embeds
            for part in parts
        ]
        return torch.cat(embeds).double().cpu().numpy()


def _systems(
    context: EvaluationContext,
    prompts: Sequence[str],
    outputs: Sequence[str],
    studies: Sequence[Study],
) -> dict[str, Pair]:
    """System -> letter -> its outputs for these studies."""
    nearest = {letter: retrieved(context, prompts, letter, studies, outputs) for letter in outputs}
    return {
        "joint": context.generations.samples(prompts, outputs, studies=studies),
        "independent": context.generations.samples(prompts, outputs, studies=studies, joint=False),
        "real": {letter: context.studies.values(studies, letter) for letter in outputs},
        "nearest": nearest,
    }


def _rows(
    context: EvaluationContext,
    route: str,
    encoder: str,
    codes: dict[str, list[np.ndarray]],
    groups: list[str],
) -> list[Row]:
    settings = (len(groups), groups, context.settings.num_resamples, context.seed)
    values = {system: cosine(*pair) for system, pair in codes.items()}
    mean = {
        system: (lambda rows, v=value: float(v[rows].mean())) for system, value in values.items()
    }
    cells = {
        system: {"encoder": encoder, "cosine": bootstrap(mean[system], *settings)}
        for system in values
    }
    cells["joint"]["joint - independent"] = paired_difference(
        mean["joint"], mean["independent"], *settings
    )
    constant = float(values["nearest"].max())
    floors = {
        system: {"encoder": encoder, "cosine": shuffled_cosine(*codes[system], context.seed)}
        for system in ("joint", "real")
    }
    return [
        Row(f"{route}, joint", "ours", cells["joint"]),
        Row(f"{route}, independent", "ours", cells["independent"]),
        Row(f"{route}, joint, shuffled", "floor", floors["joint"]),
        Row(f"{route}, nearest training study", "baseline", cells["nearest"]),
        Row(
            f"{route}, one training study for all",
            "baseline",
            {"encoder": encoder, "cosine": constant},
            len(groups),
        ),
        Row(f"{route}, real pairs", "real", cells["real"]),
        Row(f"{route}, real, shuffled", "floor", floors["real"]),
    ]


def _spoken(systems: dict[str, Pair]) -> np.ndarray:
    """(N,) bool: studies whose reports, where there are any, are not blank in any system."""
    columns = [
        values
        for pair in systems.values()
        for values in pair.values()
        if isinstance(values[0], str)
    ]
    count = len(next(iter(systems["real"].values())))
    return np.array([all(column[i].strip() for column in columns) for i in range(count)])


def _take(values: Sequence[Any], keep: np.ndarray) -> list[Any]:
    return [value for value, kept in zip(values, keep, strict=True) if kept]
