"""Do regions that are generated follow their prompt, and nothing else change? With the phantom's
truth: an effusion is erased or added inside its region, by the report of the same patient without
or with it, of whom the phantom also renders the true image.

Legend: N studies and sides, S side of an image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.evaluation.context import EvaluationContext
from medcodi.metrics.statistics import bootstrap, pearson, share_of
from medcodi.modalities.sheet import contact_sheet
from medcodi.nn.seeding import derive_seed
from medcodi.phantom import Patient, render, write_report
from medcodi.phantom.anatomy import SIDES

# Where an effusion changes a frontal image: rows and columns as shares of its side, a left one
# (image right); a right one mirrored.
EFFUSION_ROWS, EFFUSION_COLUMNS = (0.44, 0.90), (0.48, 0.90)
ADDED = 0.6  # volume of an effusion that is added
BAND = 4  # pixels inside a mask whose gradients the border is compared with
Figure = dict[str, Any]


@dataclass
class Pair:
    """A study, the mask (S, S) of an effusion's region and the patient with that effusion turned
    over: the report (a prompt) and the image that is right."""

    study: Study
    side: str
    added: bool
    mask: np.ndarray
    report: str
    right: np.ndarray


def effusion_mask(side: str, size: int) -> np.ndarray:
    """(S, S) bool: the region of an effusion of a side."""
    mask = np.zeros((size, size), bool)
    (top, bottom), (left, right) = (
        [round(share * size) for share in shares] for shares in (EFFUSION_ROWS, EFFUSION_COLUMNS)
    )
    mask[top:bottom, left:right] = True
    return mask if side == "left" else mask[:, ::-1].copy()


def pairs(context: EvaluationContext, studies: Sequence[Study]) -> list[Pair]:
    """A pair for each study and side."""
    found = []
    for study in studies:
        patient = Patient(**{f.name: study.truth[f.name] for f in fields(Patient)})
        size = len(study.values[context.studies.name("F")])
        for side in SIDES:
            added = patient.effusion(side) == 0
            turned = replace(patient, **{f"effusion_{side}": ADDED if added else 0.0})
            rng = np.random.default_rng(derive_seed(context.seed, study.study_id, side))
            report, (right, _) = write_report(turned, rng), render(turned, size)
            found.append(Pair(study, side, added, effusion_mask(side, size), report, right))
    return found


def edited(context: EvaluationContext, several: Sequence[Pair]) -> np.ndarray:
    """(N, S, S): the images with their region generated from the other report."""
    frontal, report = context.studies.name("F"), context.studies.name("T")
    images: list[np.ndarray] = []
    size = context.settings.batch_size
    for start in range(0, len(several), size):
        batch = several[start : start + size]
        out = context.generations.pipeline(
            {report: [pair.report for pair in batch]},
            [frontal],
            context.settings.num_inference_steps,
            keep={frontal: [(pair.study.values[frontal], pair.mask) for pair in batch]},
            seeds=[derive_seed(context.seed, p.study.study_id, p.side, "edit") for p in batch],
            batch_size=size,
        )
        images += out.stored[frontal]
    return np.stack(images)


def region_figures(context: EvaluationContext, studies: Sequence[Study]) -> list[Figure]:
    """Figures of edited regions, beside those of the right images and of nothing done (floor)."""
    several = pairs(context, studies)
    before = np.stack([pair.study.values[context.studies.name("F")] for pair in several])
    after, right = edited(context, several), np.stack([pair.right for pair in several])
    masks = np.stack([pair.mask for pair in several])
    images = {"value": after, "floor": before, "real": right}
    strips(several, before, after, 8).save(context.picture("keep_regions"))
    outside = [np.array_equal(a[~m], b[~m]) for a, b, m in zip(after, before, masks, strict=True)]
    rows = _read_figures(context, several, images)
    patients = [pair.study.patient_id for pair in several]
    rows.append(
        share_figure("pixels outside the mask equal, to the bit", np.array(outside), patients)
    )
    name = "gradient at the border / inside"
    rows.append(_plain(name, len(several), lambda shown: seam_ratio(shown, masks), images))
    name = "RMS error inside the mask, to the true image"
    error = lambda shown: float(np.sqrt(((shown - right)[masks] ** 2).mean()))
    rows.append(_plain(name, len(several), error, images))
    return rows


def _read_figures(
    context: EvaluationContext, several: Sequence[Pair], images: dict[str, np.ndarray]
) -> list[Figure]:
    """What the phantom's reader sees in the images: the effusion of the side, and the heart."""
    reader = context.networks.phantom_reader("F")
    read = {key: reader.read(shown) for key, shown in images.items()}
    patients = [pair.study.patient_id for pair in several]  # two sides a study
    rows: list[Figure] = []
    for name, wanted in (("added", True), ("erased", False)):
        chosen = [i for i, pair in enumerate(several) if pair.added is wanted]
        hit = {
            key: np.array([(of[f"effusion_{several[i].side}"][i] > 0.5) == wanted for i in chosen])
            for key, of in read.items()
        }
        if chosen:
            beside = {"floor": hit["floor"], "real": hit["real"]}
            of_row = [patients[i] for i in chosen]
            rows.append(share_figure(f"effusion {name}", hit["value"], of_row, **beside))
    ctr = {key: of["ctr"] for key, of in read.items()}
    together = lambda chosen: pearson(ctr["value"][chosen], ctr["floor"][chosen])
    estimate = bootstrap(together, len(several), patients, seed=context.seed)
    row = {"figure": "CTR read before and after: r", "n": len(several), "value": estimate.value}
    row |= {"interval": (estimate.low, estimate.high), "real": pearson(ctr["real"], ctr["floor"])}
    return [*rows, row]


def _plain(
    name: str, n: int, figure: Callable[[np.ndarray], float], images: dict[str, np.ndarray]
) -> Figure:
    return {"figure": name, "n": n} | {key: figure(shown) for key, shown in images.items()}


def share_figure(
    name: str, hits: np.ndarray, patients: Sequence[str], **beside: np.ndarray
) -> Figure:
    """A share over N rows; its interval is that of as many rows as there are patients."""
    whole = share_of(hits.astype(float))
    count = len(set(patients))
    estimate = share_of(np.arange(count) < round(count * whole.value))
    row: Figure = {"figure": name, "n": len(hits), "value": whole.value}
    return (
        row | {"interval": (estimate.low, estimate.high)} | {k: v.mean() for k, v in beside.items()}
    )


def seam_ratio(images: np.ndarray, masks: np.ndarray) -> float:
    """Mean absolute difference of neighbours across the borders of masks (N, S, S), over that of
    neighbours inside, at most `BAND` pixels from it."""
    border, inside = [], []
    near = ~eroded(masks, BAND) & masks
    for axis in (1, 2):
        step = np.abs(np.diff(images, axis=axis))
        first, second = (np.take(masks, range(s, masks.shape[axis] - 1 + s), axis) for s in (0, 1))
        close = [np.take(near, range(s, near.shape[axis] - 1 + s), axis) for s in (0, 1)]
        border.append(step[first != second])
        inside.append(step[close[0] & close[1]])
    return float(np.concatenate(border).mean() / np.concatenate(inside).mean())


def eroded(masks: np.ndarray, pixels: int) -> np.ndarray:
    """Masks (N, S, S) without the pixels at most so far from their border."""
    for _ in range(pixels):
        padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)), mode="edge")
        masks = masks & padded[:, :-2, 1:-1] & padded[:, 2:, 1:-1]
        masks = masks & padded[:, 1:-1, :-2] & padded[:, 1:-1, 2:]
    return masks


def strips(several: Sequence[Pair], before: np.ndarray, after: np.ndarray, count: int) -> Any:
    """Before, mask, after and the true image of the first pairs, half of them added, half erased.
    Returns a picture."""
    of = {added: [i for i, p in enumerate(several) if p.added is added] for added in (True, False)}
    chosen = [i for indices in of.values() for i in indices[: count // 2]]
    rows = [[before[i], several[i].mask.astype(float), after[i], several[i].right] for i in chosen]
    words = {True: "added", False: "erased"}
    labels = [
        f"{several[i].side} effusion {words[several[i].added]}: before, mask, after, true"
        for i in chosen
    ]
    return contact_sheet(rows, labels)
