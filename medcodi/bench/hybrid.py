"""The hybrid study (Kikuchi et al. 2024) on phantoms: image and row together, by the study's method
and by medcodi.

The study's method: a coder, trained on public images, codes an image by 128 numbers; a table
generator learns rows with their codes; the coder makes images of the codes that it draws. Its
numbers are kept: 1,342 studies of 13 columns, 6:2:2. What generators learn from is the first four
fifths; the last fifth is the test set, with as many other patients more as `num_test` asks for,
since phantoms cost nothing.
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from medcodi.baselines.coded_pairs import codes_of, images_of
from medcodi.baselines.codes import CodeModel
from medcodi.bench.hybrid_pairs import Pairs, Plan, coded, fit_coders, phantoms, pipeline_pairs
from medcodi.evaluation.records import fit_settings
from medcodi.evaluation.tables.hybrid import mixed_sets, ratio_name, scores_of
from medcodi.metrics import hybrid
from medcodi.metrics.hybrid import Records
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.metrics.networks.records import PairEncoders, predict_outcome
from medcodi.metrics.paired_images import paired_figures
from medcodi.phantom import SCHEMA
from medcodi.pipeline import MedCoDiPipeline

logger = logging.getLogger(__name__)

PRIVATE_SEED, PUBLIC_SEED, TEST_SEED, OTHER_SEED = 401, 402, 403, 404
REAL, OTHER, OURS = "real", "other real patients", "medcodi"
ROW_FIRST = "medcodi, row first"  # the finished row is the prompt of the image


def study(plan: Plan, pipe: MedCoDiPipeline) -> tuple[dict[str, Any], dict[str, Pairs]]:
    """The tables, and the pairs of each set."""
    count = plan.num_training
    private = phantoms(plan, plan.num_studies, PRIVATE_SEED)
    more = phantoms(plan, max(plan.num_test - (plan.num_studies - count), 1), TEST_SEED)
    given = Pairs(private.images[:count], private.rows[:count])
    test = Pairs(*_joined(private, count, more))
    logger.info("%d pairs to learn from, %d to test on", count, len(test.rows))
    coders = fit_coders(plan, phantoms(plan, plan.num_public, PUBLIC_SEED))
    sets = {REAL: given, OTHER: phantoms(plan, count, OTHER_SEED)}
    sets[OURS] = pipeline_pairs(plan, pipe, count)
    sets[ROW_FIRST] = pipeline_pairs(plan, pipe, count, ["tabular", "frontal"])
    for coder, system in plan.methods:
        name = f"{coders[coder].title.partition(',')[0]} codes, {system}"
        logger.info(name)
        sets[name] = coded(plan, coders[coder], system, given, count)
    settings = fit_settings(
        {"num_epochs": plan.num_epochs, "min_steps": plan.min_steps}, plan.size, "hybrid"
    )
    logger.info("outcome networks")
    tables = {
        "coders": coder_table(coders, test.images),
        "outcome": outcome_table(plan, settings, sets, test),
        "ranks": rank_table(plan, settings, sets, test),
        "columns": column_table(sets),
    }
    return tables, sets


def _joined(private: Pairs, count: int, more: Pairs) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The private studies from `count` on, then `more`."""
    images = np.concatenate([private.images[count:], more.images])
    return images, private.rows[count:] + more.rows


def outcome_table(
    plan: Plan, settings: FitSettings, sets: Mapping[str, Pairs], test: Pairs
) -> list[dict[str, Any]]:
    """A row a system and share of real records: {system, real:synthetic, AUC, difference to real
    alone, p}. p is DeLong's, adjusted by Holm within the system."""
    shown, real = test.records(), sets[REAL].records()
    reference = predict_outcome(real, shown, settings, plan.seeds)
    rows = [_outcome(REAL, ratio_name(1.0), shown, reference, reference)]
    for name, pairs in sets.items():
        if name == REAL:
            continue
        made = pairs.records()
        count = min(len(real), len(made))
        mixed = mixed_sets(real.take(np.arange(count)), made.take(np.arange(count)), plan.seed)
        scored = {
            ratio: scores_of(train, shown, settings, plan.seeds) for ratio, train in mixed.items()
        }
        found = [_outcome(name, ratio, shown, of, reference) for ratio, of in scored.items()]
        for row, p in zip(found, hybrid.holm([row["p"] for row in found]), strict=True):
            row["p"] = p
        rows += found
    return rows


def _outcome(
    system: str, ratio: str, test: Records, scores: np.ndarray, reference: np.ndarray
) -> dict[str, Any]:
    tested = hybrid.delong(test.outcome, scores, reference)
    return {
        "system": system,
        "real:synthetic": ratio,
        "AUC": tested.first,
        "difference": tested.difference,
        "p": tested.p,
    }


def rank_table(
    plan: Plan, settings: FitSettings, sets: Mapping[str, Pairs], test: Pairs
) -> list[dict[str, Any]]:
    """How near an image and its row are, by encoders trained on the pairs of each set: rank of the
    own row among those of all test patients (1 is best)."""
    shown = test.records()
    ranks = {}
    for name, pairs in sets.items():
        given = pairs.records()
        encoders = PairEncoders(settings, plan.seed).fit(given.images, given.rows)
        ranks[name] = encoders.ranks(shown.images, shown.rows)
    return [
        {"system": name, **hybrid.rank_summary(of), "p": hybrid.wilcoxon(of, ranks[REAL])}
        for name, of in ranks.items()
    ]


def coder_table(coders: Mapping[str, CodeModel], images: np.ndarray) -> list[dict[str, Any]]:
    """MSE, PSNR and SSIM of images that the coders never saw."""
    return [
        {"coder": name, **paired_figures(images_of(coder, codes_of(coder, images)), images)}
        for name, coder in coders.items()
    ]


def column_table(sets: Mapping[str, Pairs]) -> list[dict[str, Any]]:
    """The study's table of its patients, a column a set: mean and sd of numbers, shares of
    categories, of the known values."""
    found = []
    frames = {name: pairs.frame() for name, pairs in sets.items()}
    for column in SCHEMA.columns:
        for level in column.categories if column.is_discrete else [None]:
            row = {"column": column.name if level is None else f"{column.name}: {level}"}
            for name, frame in frames.items():
                known = frame[column.name].dropna()
                if level is None:
                    numbers = known.astype(float)
                    row[name] = f"{numbers.mean():.1f} ± {numbers.std():.1f}"
                else:
                    row[name] = f"{(known == level).mean():.1%}"
            found.append(row)
    return found
