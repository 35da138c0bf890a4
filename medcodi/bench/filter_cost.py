"""What a privacy filter finds among planted copies, and what it costs: the same prompts with the
filter and without, by fidelity, diversity, findings, worth.

Legend: N studies, H W pixels, P planted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from medcodi.bench.baselines import FINDINGS, VIEW, Budget, Comparison
from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.generations import sample_seed
from medcodi.evaluation.routes import patients
from medcodi.evaluation.table import Row
from medcodi.metrics.privacy import perturbed_images
from medcodi.metrics.statistics import share_of
from medcodi.privacy.filter import PrivacyFilter

KEPT, REFUSED = "kept at the first draw", "refused"
PROMPT, MAX_DRAWS = "T", 20


def filter_rows(
    context: EvaluationContext, privacy: PrivacyFilter, num_worth: int, max_draws: int = MAX_DRAWS
) -> tuple[list[Row], Comparison]:
    """The pipeline's T>F without the filter and with it, measured as the systems of
    `bench/baselines.py` are; and the comparison, which holds the images.

    ValueError for a context without a pipeline, NothingAcceptedError for a filter that is too
    strict."""
    if not context.generations.have_pipeline:
        raise ValueError(f"there is no pipeline in {context.pipeline_dir}")
    comparison = Comparison(context, Budget(), num_worth)
    rows = []
    for name, used in (("without the filter", None), ("with the filter", privacy)):
        made, first = _sampled(context, comparison.sides.prompted, used, max_draws)
        owners = patients(comparison.sides.prompted)
        cells = comparison.measured(made, owners, comparison.real)
        cells[FINDINGS] = comparison.findings(made)
        learned, second = _sampled(context, comparison.worth_studies(), used, max_draws)
        cells |= comparison.worth(learned)
        if used is not None:
            cells[KEPT] = share_of(np.concatenate([first, second]))
        rows.append(Row(name, "ours", cells, len(made)))
        comparison.shown[name] = made
    return rows, comparison


def _sampled(
    context: EvaluationContext,
    studies: Sequence[Study],
    privacy: PrivacyFilter | None,
    max_draws: int,
) -> tuple[np.ndarray, np.ndarray]:
    """An image (N, H, W) for the report of each study, by the same seeds with and without a filter,
    and whether its first draw was kept (N,)."""
    name, prompt = context.studies.name(VIEW), context.studies.name(PROMPT)
    images, kept = [], []
    size = context.settings.batch_size
    for start in range(0, len(studies), size):
        part = studies[start : start + size]
        out = context.generations.pipeline(
            prompts={prompt: [study.values[prompt] for study in part]},
            outputs=[name],
            seeds=[sample_seed(context.seed, [prompt], study.study_id) for study in part],
            batch_size=len(part),
            num_inference_steps=context.settings.num_inference_steps,
            **({} if privacy is None else {"privacy": privacy, "max_draws": max_draws}),
        )
        images += out.stored[name]
        kept += [not reasons for reasons in out.refused]
    return np.stack(images), np.array(kept)


def planted_rows(
    context: EvaluationContext, privacy: PrivacyFilter, count: int
) -> list[dict[str, Any]]:
    """Share that the filter refuses: of `count` training images, exact and changed, and of as many
    held-out images of other patients, which are nobody's copies."""
    name = context.studies.name(VIEW)
    training = context.studies.images(context.studies.training([VIEW], count), VIEW)
    strangers = context.studies.images(context.studies.held_out([VIEW], count), VIEW)
    sets = {
        "exact copy": training,
        "noise and gain": perturbed_images(training, seed=context.seed),
        "brightness": np.clip(training, 0, 1) ** 1.3,
        "cropped by a sixteenth": cropped(training),
        "mirrored": training[:, :, ::-1].copy(),
        "images of other patients": strangers,
    }
    return [
        {"set": key, REFUSED: share_of(~privacy.judge({name: list(images)}).keep)}
        for key, images in sets.items()
    ]


def cropped(images: np.ndarray) -> np.ndarray:
    """Images (N, H, W) without a sixteenth at each border, brought back to their size."""
    height, width = images.shape[1:]
    down, across = height // 16, width // 16
    inner = torch.from_numpy(images[:, down : height - down, across : width - across].copy())
    sized = F.interpolate(inner[:, None], (height, width), mode="bilinear", antialias=True)
    return sized[:, 0].clamp(0, 1).numpy()
