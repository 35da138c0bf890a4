"""Does a diffusion model repeat its training records less when it sees more of them, and more when
it sees them more often?

The same denoiser is trained from the same first weights, for the same steps, on sets of different
sizes. In each set some phantoms stand several times. The autoencoder saw other phantoms only.
Legend: N distinct training phantoms, P planted a number of copies, M samples.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medcodi.baselines.base import Records
from medcodi.baselines.class_ldm import ClassLDM, ClassLDMSettings
from medcodi.baselines.loop import drawing
from medcodi.evaluation.labels import TruthLabels
from medcodi.files import jsonable
from medcodi.metrics import privacy
from medcodi.metrics.retrieval import image_distances
from medcodi.metrics.statistics import share_of
from medcodi.phantom import generate

logger = logging.getLogger(__name__)

COLUMNS = (
    *("phantoms", "copies", "planted", "share of rows", "nearest record", "called copies"),
    *("by chance", "repeated", "membership"),
)
VIEW = "frontal"
PUBLIC_SEED, PRIVATE_SEED, STRANGER_SEED = 101, 202, 303


@dataclass(frozen=True)
class Plan:
    """`sizes` N; `copies` that phantoms have: 1 are all that stand once, of the others `planted`
    each; steps of `batch_size`; `num_samples` M, `num_strangers` whom no training saw. Images of
    `size` pixels."""

    sizes: Sequence[int] = (200, 1000, 5000)
    copies: Sequence[int] = (1, 10, 100)
    planted: int = 20
    size: int = 32
    num_steps: int = 2000
    autoencoder_steps: int = 600
    num_public: int = 1000
    batch_size: int = 64
    num_samples: int = 200
    num_strangers: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        needed = self.planted * len(self.copies) + privacy.MIN_RECORDS
        if not self.sizes or min(self.sizes) < needed:
            raise ValueError(
                f"{self.planted} phantoms for each of {len(self.copies)} numbers of copies need "
                f"sets of {needed} phantoms or more, got {list(self.sizes)}"
            )
        if min(self.copies, default=0) < 1:
            raise ValueError(f"copies are 1 or more, got {list(self.copies)}")
        if min(self.num_strangers, self.planted) < privacy.MIN_RECORDS:
            raise ValueError(
                f"membership is measured on {privacy.MIN_RECORDS} planted phantoms and strangers "
                f"or more, got {self.planted} and {self.num_strangers}"
            )


def memorisation(plan: Plan) -> list[dict[str, Any]]:
    """A row for each N and number of copies, with the columns COLUMNS: numbers or Estimates.

    Of the phantoms with these copies, `nearest record` is the share of the samples whose nearest
    training phantom is one of them (beside their `share of rows`), `called copies` the share that
    also lies too near to it, by the level of strangers (`by chance`, for all groups together), and
    `repeated` how many of them a sample copies so. `membership`: AUC of the denoiser's loss, they
    against strangers.
    """
    public = _records(plan.num_public, plan, PUBLIC_SEED)
    strangers = _records(plan.num_strangers, plan, STRANGER_SEED)
    everybody = _records(max(plan.sizes), plan, PRIVATE_SEED)
    system = _public_system(public, plan)
    rows = []
    for count in plan.sizes:
        logger.info("training on %d phantoms", count)
        distinct = everybody.take(torch.arange(count))
        groups = _groups(plan, count)
        trained = _trained(system, _repeated(distinct, groups), plan)
        found = _measured(trained, distinct, strangers, groups, plan)
        for row in found:
            logger.info("%s", jsonable(row))
        rows += found
    return rows


def _records(count: int, plan: Plan, seed: int) -> Records:
    """Frontal images and labels of phantoms of a population of its own."""
    studies = list(generate(count, seed, plan.size, 1))
    images = np.stack([study.values[VIEW] for study in studies])
    return Records.of(images, TruthLabels().of(studies))


def _groups(plan: Plan, count: int) -> dict[int, np.ndarray]:
    """Number of copies -> rows of the phantoms that stand so often. Planted ones are the same in
    every set."""
    groups, start = {}, 0
    for copies in plan.copies:
        if copies > 1:
            groups[copies] = np.arange(start, start + plan.planted)
            start += plan.planted
    return {1: np.arange(start, count), **groups}


def _repeated(distinct: Records, groups: Mapping[int, np.ndarray]) -> Records:
    rows = [np.arange(len(distinct))]
    rows += [np.tile(group, copies - 1) for copies, group in groups.items()]
    return distinct.take(torch.from_numpy(np.concatenate(rows)))


def _public_system(public: Records, plan: Plan) -> ClassLDM:
    """With a trained autoencoder, and a denoiser as it was born."""
    with drawing(plan.seed, "weights"):
        system = ClassLDM(plan.size, public.labels.shape[1], ClassLDMSettings(autoencoder_share=1))
    system.fit(public, plan.autoencoder_steps, plan.batch_size, plan.seed)
    return system


def _trained(public: ClassLDM, records: Records, plan: Plan) -> ClassLDM:
    """The same first weights, its denoiser trained on the records."""
    settings = ClassLDMSettings(autoencoder_share=0)
    system = ClassLDM(plan.size, public.num_labels, settings)
    system.load_state_dict(public.state_dict())
    system.fit(records, plan.num_steps, plan.batch_size, plan.seed)
    return system


def _measured(
    system: ClassLDM,
    distinct: Records,
    strangers: Records,
    groups: Mapping[int, np.ndarray],
    plan: Plan,
) -> list[dict[str, Any]]:
    prompts = strangers.labels[torch.arange(plan.num_samples) % len(strangers)]
    made = system.sample(prompts, seed=plan.seed)
    train, control = (_images(records) for records in (distinct, strangers))
    to_train = image_distances(made, train)
    nearest = to_train.argmin(axis=1)  # M
    level = max(0.02, 1 / len(control))
    found = privacy.memorised(to_train, image_distances(control, train), level)
    unseen = system.denoising_losses(strangers, plan.seed)
    num_rows = len(distinct) + sum((copies - 1) * len(group) for copies, group in groups.items())
    rows = []
    for copies, group in groups.items():
        of_group = np.isin(nearest, group)
        members = torch.from_numpy(group[: plan.num_strangers])
        seen = system.denoising_losses(distinct.take(members), plan.seed)
        rows.append(
            {
                "phantoms": len(distinct),
                "copies": copies,
                "planted": len(group),
                "share of rows": copies * len(group) / num_rows,
                "nearest record": share_of(of_group),
                "called copies": share_of(of_group & found.flagged),
                "by chance": found.expected,
                "repeated": len(set(nearest[of_group & found.flagged])),
                "membership": privacy.membership(-seen, -unseen, plan.seed),
            }
        )
    return rows


def _images(records: Records) -> np.ndarray:
    return (records.images[:, 0].numpy() + 1) / 2
