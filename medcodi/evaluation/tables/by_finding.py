"""T2b: are generated images of a finding like real images of that finding?

The distance of all images hides a finding that few of them have. Here each finding has a distance
of its own, beside its own floor. Letters: F frontal, L lateral, T report. Legend: N studies.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.routes import patients
from medcodi.evaluation.studies import HELD_OUT
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics.fidelity import kernel_distance

MAX_REFERENCE = 2000
KERNEL = "kernel distance (KID form)"
NOTES = (
    "Reference: held-out real images with the finding. Generated: prompted by the reports of "
    "held-out studies with the finding.",
    "Floor: real images with the finding of training patients, as many as were generated. "
    "Baseline: as many real images of training patients without it; where its interval covers the "
    "floor, the network cannot see the finding, and the row of ours says nothing about it.",
)


@register_table
class FidelityByFinding(EvaluationTable):
    """Kernel distance in the suite's label network, findings with `least` studies or more on every
    side."""

    id, title = "T2b", "Image fidelity by finding"
    needs = ("pipeline", "T", "labels")

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return {"least": 10}

    def run(self, context: EvaluationContext) -> Result:
        views = [letter for letter in "FL" if not context.missing([letter])]
        rows: list[Row] = []
        for letter in views:
            rows += self._rows(context, letter, int(self.options(context)["least"]))
        if not rows:
            raise ValueError("no finding has enough held-out and training studies with an image")
        return Result(
            self.title,
            ("finding", KERNEL),
            rows,
            max(row.n or 0 for row in rows),
            [context.seed],
            NOTES,
            {f"{row.system}.{row.cells['finding']}": row.value(KERNEL) for row in rows},
        )

    def _rows(self, context: EvaluationContext, letter: str, least: int) -> list[Row]:
        labels = context.labels.own
        assert labels is not None  # `needs`
        backbone = context.networks.backbones(letter)[0]
        studies = context.studies.held_out(["T", letter])
        reference = context.studies.of(HELD_OUT, [letter], MAX_REFERENCE)
        training = context.studies.training([letter])
        made = context.generations.samples("T", letter, studies=studies)[letter]
        ours = backbone.features(np.stack(made))
        real, seen = (
            backbone.features(context.studies.images(group, letter))
            for group in (reference, training)
        )
        of_ours, of_real, of_seen = (labels.of(group) for group in (studies, reference, training))

        rows = []
        for k, finding in enumerate(labels.names):
            own, there, others = (np.flatnonzero(x[:, k] == 1) for x in (of_ours, of_real, of_seen))
            without = np.flatnonzero(of_seen[:, k] == 0)
            if min(map(len, (own, there, others, without))) < least:
                continue
            count = len(own)
            name = context.studies.name(letter)
            for system, kind, features, group, chosen in (
                (f"T>{letter}", "ours", ours, studies, own),
                (f"real {name}, training patients", "floor", seen, training, others[:count]),
                (f"real {name} without it", "baseline", seen, training, without[:count]),
            ):
                distance = kernel_distance(
                    features[chosen],
                    real[there],
                    (_patients(group, chosen), _patients(reference, there)),
                    context.settings.num_resamples,
                    context.seed,
                )
                rows.append(Row(system, kind, {"finding": finding, KERNEL: distance}))
        return rows


def _patients(studies: Sequence[Study], chosen: np.ndarray) -> list[str]:
    return patients([studies[i] for i in chosen])
