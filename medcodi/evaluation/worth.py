"""What synthetic images are worth for training: in place of real ones, beside scarce ones, and for
rare findings (MedCoDi-M, section 2.7)."""

import dataclasses
from typing import Any

import numpy as np

from medcodi.evaluation.bench import AVERAGES, Bench, both_classes
from medcodi.evaluation.papers import published
from medcodi.evaluation.table import Row
from medcodi.metrics import utility
from medcodi.metrics.utility import LabelledImages, Prediction

HEADINGS = dict(
    zip(AVERAGES, [f"{k} {a}" for k in ("AUROC", "F1") for a in utility.AVERAGES], strict=True)
)
DIFFERENCE, P = "AUROC macro, difference", "p"
F1_DIFFERENCE, SPREAD = "F1 macro, difference", "sd of seeds"
SCORES = [*HEADINGS.values(), SPREAD, DIFFERENCE, F1_DIFFERENCE, P]  # findings stand before them
NUM_BALANCED = 5
HOW = {
    "replace": "The size of the training set stays, real images become scarce",
    "add": "Synthetic images are added to all real",
}


Part = tuple[list[Row], dict[str, float], list[str]]


def anonymisation(bench: Bench) -> Part:
    """Trained on synthetic images alone, against real ones of the same studies (Table 8)."""
    order = np.random.default_rng(bench.context.seed).permutation(len(bench.real))
    sets = {
        "real": ("real", bench.real),
        "synthetic": ("ours", bench.synthetic),
        "retrieved (real image of the nearest report)": ("baseline", bench.retrieved),
        "other real (as many)": ("real", bench.other),
        "real, labels shuffled": (
            "floor",
            LabelledImages(bench.real.images, bench.real.labels[order]),
        ),
    }
    predicted = {name: bench.predict(train) for name, (_, train) in sets.items()}
    rows, figures = [], {}
    for name, (kind, _) in sets.items():
        cells = headed(bench, predicted[name])
        if name != "real":
            cells |= compared(bench.compare(predicted[name], predicted["real"]))
        rows.append(Row(f"trained on {name}", kind, cells))
        figures |= {
            f"{name.split(' (')[0]}.{key}": cells[HEADINGS[key]].value
            for key in ("auroc macro", "f1 macro")
        }
    prior = utility.class_prior(bench.real.labels, len(bench.test))
    rows.append(Row("class prior (says yes always)", "floor", headed(bench, prior)))
    note = (
        f"Difference and p: against training on real images of the same {len(bench.real)} "
        "studies, paired by test patient."
    )
    notes = [note, *_beaten(rows)]
    rows += published(f"T8 {bench.letter}")
    if bench.letter == "F":
        rows += published("T8 packhaeuser")
    return rows, figures, notes


def _beaten(rows: list[Row]) -> list[str]:
    gain = next((row.cells.get(DIFFERENCE) for row in rows if row.kind == "ours"), None)
    if gain is None or not gain.low > 0:
        return []
    return [
        "Warning: synthetic images train better than real ones of the same studies: they may be "
        "over-typical. Look at "
        "recall, coverage and MS-SSIM in T2, and at what other real images do."
    ]


def imbalance(bench: Bench) -> Part:
    """The five most frequent findings, positives filled up with synthetic images (Tables 9 and
    10)."""
    positives = np.nansum(bench.real.labels, axis=0)
    chosen = np.sort(np.argsort(-positives, kind="stable")[:NUM_BALANCED])
    few = _only(bench, chosen)
    sets = {"real": few.real}
    for name, pool in (
        ("synthetic", few.synthetic),
        ("retrieved", few.retrieved),
        ("other real", few.other),
    ):
        added = utility.balancing_rows(few.real.labels, pool.labels, bench.context.seed)
        sets[f"real + {name}"] = few.real + pool.take(added)
    kinds = {
        "real": "real",
        "real + synthetic": "ours",
        "real + retrieved": "baseline",
        "real + other real": "real",
    }
    predicted = {name: few.predict(train) for name, train in sets.items()}
    predicted["class prior (says yes always)"] = utility.class_prior(few.real.labels, len(few.test))
    singles = [f"f1 {k}" for k in range(len(chosen))]
    wanted = [*singles, *(f"f1 {average}" for average in utility.AVERAGES)]
    headings = dict(zip(wanted, [*few.names, *(f"F1 {a}" for a in utility.AVERAGES)], strict=True))
    rows, figures = [], {}
    for name, train in sets.items():
        shares = np.nanmean(train.labels, axis=0)
        cells = dict(zip(few.names, map(float, shares), strict=True))
        rows.append(Row(f"T9, positive share of {name}", kinds[name], cells, len(train)))
    for name, prediction in predicted.items():
        cells = {headings[key]: value for key, value in few.cells(prediction, wanted).items()}
        cells |= _spread(few, prediction, "f1 macro")
        if name in sets and name != "real":
            cells |= compared(few.compare(prediction, predicted["real"], "f1 macro"), F1_DIFFERENCE)
        rows.append(
            Row(
                f"T10, {name}" if "prior" in name else f"T10, trained on {name}",
                kinds.get(name, "floor"),
                cells,
            )
        )
        figures[f"{name.split(' (')[0]}.f1 macro"] = cells["F1 macro"].value
    note = (
        f"{len(chosen)} most frequent findings of {len(bench.real)} real training studies; images "
        "are added until all have "
        "as many positives as the most frequent one, as far as the pool of as many synthetic "
        "images reaches."
    )
    rows += published("T9") + published(f"T10 {bench.letter}")
    return rows, figures, [note]


def _only(bench: Bench, findings: np.ndarray) -> Bench:
    """The bench with some of its findings."""
    parts = ("real", "synthetic", "retrieved", "other", "test")
    sets = {name: getattr(bench, name) for name in parts}
    chosen = {n: LabelledImages(s.images, s.labels[:, findings]) for n, s in sets.items()}
    return dataclasses.replace(bench, names=[bench.names[k] for k in findings], **chosen)


def scarcity(bench: Bench) -> Part:
    """A growing share of synthetic images, beside the same real images alone (Table 11)."""
    how = bench.options["scarcity"]
    if how not in HOW:
        raise ValueError(f"scarcity must be one of {', '.join(HOW)}, got {how!r}")
    rows, figures, skipped = [], {}, []
    for share in utility.SHARES:
        more, found, counts = _share(bench, share, replace=how == "replace")
        rows += more
        figures |= found
        if len(found) < (2 if share else 1):
            skipped.append(f"{share:.0%} ({counts[0]} real)")
    if not any(row.kind == "ours" for row in rows):
        raise ValueError(
            f"no set of {len(bench.real)} training images can be trained on: 10 and both classes "
            "are needed"
        )
    prior = utility.class_prior(bench.real.labels, len(bench.test))
    rows.append(Row("class prior (says yes always)", "floor", headed(bench, prior)))
    notes = [
        f"{HOW[how]}. Difference and p: against the same real images without the synthetic ones, "
        "paired by test patient."
    ]
    if skipped:
        notes.append(
            "Too few real images to train on alone, or no finding with both classes: "
            f"{', '.join(skipped)}."
        )
    return rows + published(f"T11 {bench.letter}"), figures, notes


def _share(
    bench: Bench, share: float, replace: bool
) -> tuple[list[Row], dict[str, float], tuple[int, int]]:
    """Rows and figures of a training set of which `share` is synthetic, and the numbers of its real
    and synthetic images. Synthetic images are of other studies than the real ones, as far as there
    are others: no study is there twice."""
    size, pool = len(bench.real), len(bench.synthetic)
    most = size if replace else int(pool * (1 - utility.SHARES[-1]) / utility.SHARES[-1])
    counts = utility.scarcity_counts(share, most, pool, size if replace else None)
    order = np.random.default_rng(bench.context.seed).permutation(size)
    kept, added = order[: counts[0]], order[::-1][: counts[1]]
    real, rows, figures = bench.real.take(kept), [], {}
    mixed = _tried(bench, real + bench.synthetic.take(added))
    alone = _tried(bench, real) if share else None
    if mixed:
        cells = headed(bench, mixed)
        if alone:
            cells |= compared(bench.compare(mixed, alone))
        name = f"{share:.0%} synthetic: {counts[0]} real"
        name += f" + {counts[1]} synthetic" if share else ""
        rows.append(Row(name, "ours" if share else "real", cells))
        figures[f"{share:g}.auroc macro"] = cells["AUROC macro"].value
    retrieved = _tried(bench, real + bench.retrieved.take(added)) if share else None
    if retrieved:
        name = f"{share:.0%} retrieved: {counts[0]} real + {counts[1]} retrieved"
        rows.append(Row(name, "baseline", headed(bench, retrieved)))
    if alone:
        cells = headed(bench, alone)
        rows.append(Row(f"{share:.0%}: the {counts[0]} real images alone", "baseline", cells))
        figures[f"{share:g}.alone.auroc macro"] = cells["AUROC macro"].value
    return rows, figures, counts


def _tried(bench: Bench, train: LabelledImages) -> Prediction | None:
    """None for a set that is too small to train on, as a few per cent of a small one are."""
    if len(train) < 10 or not any(both_classes(column) for column in train.labels.T):
        return None
    return bench.predict(train)


def headed(bench: Bench, prediction: Prediction) -> dict[str, Any]:
    cells = {HEADINGS[key]: value for key, value in bench.cells(prediction).items()}
    return cells | _spread(bench, prediction, "auroc macro")


def _spread(bench: Bench, prediction: Prediction, figure: str) -> dict[str, float]:
    """Standard deviation of a figure over the seeds; nothing for one seed."""
    values = utility.by_seed(bench.test.labels, prediction, figure)
    return {SPREAD: float(np.std(values, ddof=1))} if len(values) > 1 else {}


def compared(paired: utility.Paired, column: str = DIFFERENCE) -> dict[str, Any]:
    return {column: paired.difference, P: paired.p}
