"""Privacy: does the generated set give its training records away? Measurements, with a holdout and
planted copies."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.records import (
    SMALL_IMAGE,
    fit_settings,
    record_letters,
)
from medcodi.evaluation.released import (
    CHANGED,
    EXACT,
    GENERATED,
    JOINT,
    STRANGERS,
    Distances,
    Sets,
    released_sets,
    spaces_of,
)
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics import privacy
from medcodi.metrics.membership import denoising_losses
from medcodi.metrics.networks.verifier import Verifier, acquisitions, top_scores
from medcodi.metrics.statistics import bootstrap, share_of

NEAREST, EXPECTED, P, RATIO = "nearest is a training record", "expected", "p", "distance ratio"
FLAGGED, BY_CHANCE, FOUND = "called copies", "by chance", "planted copies found"
VERDICT = "says"
MEMBERS, LINKED, SCORE, MATCHED = (
    "membership AUC",
    "linked",
    "re-identification score",
    "re-identified",
)
KINDS = {GENERATED: "ours", STRANGERS: "real", EXACT: "floor", CHANGED: "floor"}
COLUMNS = [
    *(VERDICT, NEAREST, EXPECTED, P, RATIO, FLAGGED, BY_CHANCE, FOUND),
    *(MEMBERS, LINKED, SCORE, MATCHED),
]


@register_table
class Privacy(EvaluationTable):
    """Images, and texts and rows where the recipe has them, alone and as one record."""

    id, title, needs = (
        "privacy",
        "Memorisation, membership, linkage and re-identification",
        ("pipeline", "F"),
    )
    version = 5

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return {
            "num_records": context.settings.num_studies,
            "num_training": 20000,
            "num_test": 4000,
            "planted": 0.1,
            "level": None,
            "fit": {},
        }

    def run(self, context: EvaluationContext) -> Result:
        options = self.options(context)
        letters = record_letters(context, ["F"])
        schema = (
            context.studies.split("train").schemas[context.studies.name("table")]
            if "table" in letters
            else None
        )
        sets, pairs = released_sets(context, options, letters, schema)
        options["level"] = options["level"] or max(
            0.01, 1 / len(sets.control["F"])
        )  # a small holdout knows no 1 %
        spaces = spaces_of(sets, letters, schema)
        rows, figures = _released_rows(context, sets, spaces, options["level"])
        identified, more, checked = _reidentification(context, options, sets, pairs)
        rows += identified + _membership_by_loss(context, sets, letters)
        rows += published("privacy")
        sizes = [
            len(sets.released[GENERATED]["F"]),
            len(sets.train["F"]),
            len(sets.control["F"]),
            len(sets.planted),
        ]
        return Result(
            self.title,
            COLUMNS,
            rows,
            sizes[0],
            [context.seed],
            [*_notes(sizes, context, options), checked],
            figures | more,
        )


def _released_rows(
    context: EvaluationContext,
    sets: Sets,
    spaces: dict[str, dict[str, Distances]],
    level: float,
) -> tuple[list[Row], dict[str, float]]:
    """A row for each released set in each space. Planted copies come first: what they do not show,
    no other row can."""
    rows, figures, found = {}, {}, {}
    owners = sets.train_patients + sets.control_patients
    for name in sorted(sets.released, key=lambda name: name != EXACT):
        for space, distances in spaces[name].items():
            cells = _cells(distances, owners, level, context.seed)
            flagged = cells.pop("flagged")
            if name in (EXACT, CHANGED):
                cells[FOUND] = share_of(flagged[sets.planted])
            if name == EXACT:
                found[space] = cells[FOUND]
            else:
                cells[VERDICT] = privacy.verdict(cells[FLAGGED], cells[BY_CHANCE], found[space])
            if space == JOINT:
                apart = [d[0] for key, d in spaces[name].items() if key != JOINT]
                cells[LINKED] = privacy.linkage(apart)
            where = "joint record" if space == JOINT else context.studies.name(space)
            rows[name, space] = Row(f"{name}, {where}", KINDS[name], cells)
            numbers = {key: getattr(v, "value", v) for key, v in cells.items() if key != VERDICT}
            figures |= {f"{name}.{space}.{key}": value for key, value in numbers.items()}
    return [rows[name, space] for name in sets.released for space in spaces[name]], figures


def _cells(distances: Distances, owners: list[str], level: float, seed: int) -> dict[str, Any]:
    """Figures of one space; `owners`: patients of training, then of control."""
    to_train, to_control, control_to_train = distances
    nearest = privacy.closest_record(to_train, to_control)
    copies = privacy.memorised(to_train, control_to_train, level)
    members = privacy.membership(-to_train.min(axis=0), -to_control.min(axis=0), seed, owners)
    return {
        NEAREST: nearest["share"],
        EXPECTED: nearest["expected"],
        P: nearest["p"],
        RATIO: nearest["ratio"],
        FLAGGED: copies.share,
        BY_CHANCE: copies.expected,
        MEMBERS: members,
        "flagged": copies.flagged,
    }


def _reidentification(
    context: EvaluationContext, options: dict[str, Any], sets: Sets, pairs: np.ndarray
) -> tuple[list[Row], dict[str, float], str]:
    """Best match of each image among all training images, by a verification network that the suite
    trains."""
    train, control = sets.train["F"], sets.control["F"]
    few = {"num_epochs": 4, "min_steps": 150} if train.shape[1] <= SMALL_IMAGE else {}
    settings = fit_settings(few | options["fit"], train.shape[1], "evaluation.tables.privacy")
    true_pairs = len(pairs) >= 200
    verifier = Verifier(settings, context.seed).fit(train, pairs if true_pairs else None)
    check = verifier.verify(control, acquisitions(control, context.seed))
    reference, strangers = (
        verifier.embed(train),
        top_scores(verifier.embed(control), verifier.embed(train)),
    )
    threshold = float(np.quantile(strangers, 0.99))
    copies = acquisitions(train[: len(sets.released[GENERATED]["F"])], context.seed + 1)
    shown = {name: sets.released[name]["F"] for name in (GENERATED, STRANGERS)} | {
        "training, acquired again": copies
    }
    rows, figures = [], {"reidentification.auc": check["auc"]}
    for name, images in shown.items():
        scores = top_scores(verifier.embed(images), reference)
        mean = bootstrap(
            lambda rows, s=scores: float(s[rows].mean()), len(scores), seed=context.seed
        )
        cells = {SCORE: mean, MATCHED: share_of(scores > threshold), BY_CHANCE: 0.01}
        rows.append(Row(f"re-identification: {name}", KINDS.get(name, "floor"), cells))
        figures |= {
            f"reidentification.{name}.score": mean.value,
            f"reidentification.{name}.matched": cells[MATCHED].value,
        }
    made = (
        f"{len(pairs)} pairs of one patient"
        if true_pairs
        else "each image under two simulated acquisitions"
    )
    return (
        rows,
        figures,
        (
            "Re-identification: cosine with the best of all training images, by a network trained "
            f"on {made}; it tells held-out "
            f"images, acquired again, from strangers with AUC {check['auc']:.3f}. Re-identified: "
            "above what 99 % of held-out "
            "patients reach. CheXGenBench's score is another network's and not comparable."
        ),
    )


def _membership_by_loss(
    context: EvaluationContext, sets: Sets, letters: Sequence[str]
) -> list[Row]:
    """White-box attack: the denoiser's loss, training against held-out; once knowing nothing else
    of a study, once its other modalities."""
    rows, count = [], len(sets.control["F"])
    owners = sets.train_patients[:count] + sets.control_patients
    for letter, known in itertools.product(letters, ((), letters)):
        name, prompts = context.studies.name(letter), [other for other in known if other != letter]
        losses = [
            denoising_losses(
                context.generations.pipeline,
                name,
                part[letter][:count],
                context.seed,
                {context.studies.name(p): part[p][:count] for p in prompts},
            )
            for part in (sets.train, sets.control)
        ]
        attacked = privacy.membership(-losses[0], -losses[1], context.seed, owners)
        given = f", {', '.join(context.studies.names(prompts))} known" if prompts else ""
        rows.append(Row(f"loss of the {name} denoiser{given}", "ours", {MEMBERS: attacked}))
    return rows


def _notes(sizes: Sequence[int], context: EvaluationContext, options: dict[str, Any]) -> list[str]:
    total = len(context.studies.split("train"))
    return [
        f"{sizes[0]} unconditional joint samples, {sizes[1]} of {total} training studies searched, "
        f"{sizes[2]} held-out "
        "patients as control; other held-out patients stand in for samples of a perfect generator.",
        f"Positive control: {sizes[3]} of the generated records replaced by training records, "
        "exactly, and perturbed (pixel "
        "noise and gain, one word less, numbers moved by 2 % of their sd). A test that does not "
        "find them says nothing "
        "about the rest: reports repeat word for word among strangers, so that a report alone "
        "seldom shows a copy.",
        "Distances: mean squared pixel difference in float, TF-IDF cosine, Gower's; the record: "
        "their mean, each over its "
        "median. Nearest is a training record: expected is training's share of all real records "
        "searched.",
        "Called copies: nearest over the mean of the next five training distances, as low as for "
        f"{options['level']:.0%} of "
        "the control. Linked: two modalities or more of a sample have the same training record as "
        "their nearest. "
        "Membership: .5 is chance, from the distance to the closest released record; for a "
        "denoiser, from its loss.",
        "What is measured here is not a guarantee: other attacks may find more.",
    ]
