"""T8 to T11, A3: what synthetic images are worth as training data for a classifier from scratch,
tested on real images."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from medcodi.evaluation.bench import AVERAGES, Bench, bench_of, bench_options, both_classes
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics import utility
from medcodi.metrics.utility import LabelledImages, Prediction

HEADINGS = dict(
    zip(AVERAGES, [f"{k} {a}" for k in ("AUROC", "F1") for a in utility.AVERAGES], strict=True)
)
DIFFERENCE, P = "AUROC macro, difference", "p"
F1_DIFFERENCE, SPREAD = "F1 macro, difference", "sd of seeds"
SCORES = [*HEADINGS.values(), SPREAD, DIFFERENCE, F1_DIFFERENCE, P]  # findings stand before them
NUM_BALANCED = 5


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
        cells = _headed(bench, predicted[name])
        if name != "real":
            cells |= _compared(bench.compare(predicted[name], predicted["real"]))
        rows.append(Row(f"trained on {name}", kind, cells))
        figures |= {
            f"{name.split(' (')[0]}.{key}": cells[HEADINGS[key]].value
            for key in ("auroc macro", "f1 macro")
        }
    prior = utility.class_prior(bench.real.labels, len(bench.test))
    rows.append(Row("class prior (says yes always)", "floor", _headed(bench, prior)))
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
    few = dataclasses.replace(
        bench,
        names=[bench.names[k] for k in chosen],
        **{
            part: LabelledImages(
                getattr(bench, part).images, getattr(bench, part).labels[:, chosen]
            )
            for part in ("real", "synthetic", "retrieved", "other", "test")
        },
    )
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
            cells |= _compared(
                few.compare(prediction, predicted["real"], "f1 macro"), F1_DIFFERENCE
            )
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


def scarcity(bench: Bench) -> Part:
    """A growing share of synthetic images, beside the same real images alone (Table 11)."""
    replace = bench.options["scarcity"] == "replace"
    if bench.options["scarcity"] not in ("replace", "add"):
        raise ValueError(f"scarcity must be 'replace' or 'add', got {bench.options['scarcity']!r}")
    most = (
        len(bench.real)
        if replace
        else int(len(bench.synthetic) * (1 - utility.SHARES[-1]) / utility.SHARES[-1])
    )
    order = np.random.default_rng(bench.context.seed).permutation(len(bench.real))
    rows, figures, skipped = [], {}, []
    for share in utility.SHARES:
        total = len(bench.real) if replace else None
        num_real, num_synthetic = utility.scarcity_counts(share, most, len(bench.synthetic), total)
        # Synthetic images of other studies than the real ones: no study is there twice, as far as
        # there are others.
        kept, added = order[:num_real], order[::-1][:num_synthetic]
        real, mixed = bench.real.take(kept), bench.real.take(kept) + bench.synthetic.take(added)
        with_synthetic, alone = _tried(bench, mixed), _tried(bench, real) if share else None
        if with_synthetic is None or (share and alone is None):
            skipped.append(f"{share:.0%} ({num_real} real)")
        if with_synthetic:
            cells = _headed(bench, with_synthetic)
            if alone:
                cells |= _compared(bench.compare(with_synthetic, alone))
            name = f"{share:.0%} synthetic: {num_real} real" + (
                f" + {num_synthetic} synthetic" if share else ""
            )
            rows.append(Row(name, "ours" if share else "real", cells))
            figures[f"{share:g}.auroc macro"] = cells["AUROC macro"].value
        retrieved = _tried(bench, real + bench.retrieved.take(added)) if share else None
        if retrieved:
            name = f"{share:.0%} retrieved: {num_real} real + {num_synthetic} retrieved"
            rows.append(Row(name, "baseline", _headed(bench, retrieved)))
        if alone:
            cells = _headed(bench, alone)
            rows.append(Row(f"{share:.0%}: the {num_real} real images alone", "baseline", cells))
            figures[f"{share:g}.alone.auroc macro"] = cells["AUROC macro"].value
    if not any(row.kind == "ours" for row in rows):
        raise ValueError(
            f"no set of {len(bench.real)} training images can be trained on: 10 and both classes "
            "are needed"
        )
    prior = utility.class_prior(bench.real.labels, len(bench.test))
    rows.append(Row("class prior (says yes always)", "floor", _headed(bench, prior)))
    how = (
        "The size of the training set stays, real images become scarce"
        if replace
        else "Synthetic images are added to all real"
    )
    notes = [
        f"{how}. Difference and p: against the same real images without the synthetic ones, paired "
        "by test patient."
    ]
    if skipped:
        notes.append(
            "Too few real images to train on alone, or no finding with both classes: "
            f"{', '.join(skipped)}."
        )
    return rows + published(f"T11 {bench.letter}"), figures, notes


def _tried(bench: Bench, train: LabelledImages) -> Prediction | None:
    """None for a set that is too small to train on, as a few per cent of a small one are."""
    if len(train) < 10 or not any(both_classes(column) for column in train.labels.T):
        return None
    return bench.predict(train)


def _headed(bench: Bench, prediction: Prediction) -> dict[str, Any]:
    cells = {HEADINGS[key]: value for key, value in bench.cells(prediction).items()}
    return cells | _spread(bench, prediction, "auroc macro")


def _spread(bench: Bench, prediction: Prediction, figure: str) -> dict[str, float]:
    """Standard deviation of a figure over the seeds; nothing for one seed."""
    values = utility.by_seed(bench.test.labels, prediction, figure)
    return {SPREAD: float(np.std(values, ddof=1))} if len(values) > 1 else {}


def _compared(paired: utility.Paired, column: str = DIFFERENCE) -> dict[str, Any]:
    return {column: paired.difference, P: paired.p}


def _result(title: str, bench: Bench, parts: Mapping[str, Part]) -> Result:
    rows = [
        dataclasses.replace(row, system=f"{name}{row.system}")
        for name, part in parts.items()
        for row in part[0]
    ]
    found = dict.fromkeys(column for row in rows for column in row.cells)
    columns = [c for c in found if c not in SCORES] + [c for c in SCORES if c in found]
    positive = ", ".join(
        f"{n} {int(np.nansum(c))}" for n, c in zip(bench.names, bench.test.labels.T, strict=True)
    )
    about = [
        f"{bench.settings.network} from scratch on {bench.context.name(bench.letter)} images, mean of "
        f"{len(bench.options['seeds'])} seeds; a "
        "fifth of each training set stops it early and sets the thresholds of F1. Labels: "
        f"{bench.context.labels.source}.",
        f"{len(bench.real)} training studies prompt as many synthetic images by their reports; "
        f"tested on {len(bench.test)} "
        f"real held-out images (positive: {positive}). Findings without both classes on either "
        "side are left out.",
        "Retrieved: real images of the nearest reports among other training studies; other real: "
        "real images of other "
        "training studies, with their own labels. Micro averages pool findings of unequal "
        "frequency: a constant has more "
        "than .5 there.",
        f"Intervals, differences and p resample test patients. {SPREAD.capitalize()}: of the macro "
        "figure, over trainings "
        "with other validation images, order and start; a difference below it may be one of these.",
    ]
    figures = {
        f"{name}{key}": value for name, part in parts.items() for key, value in part[1].items()
    }
    notes = about + [note for part in parts.values() for note in part[2]]
    seeds = [bench.context.seed, *bench.options["seeds"]]
    return Result(title, columns, rows, len(bench.test), seeds, notes, figures)


class _Utility(EvaluationTable):
    """One protocol on frontal images."""

    version = 2
    protocol: Callable[[Bench], Part]

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return bench_options(context)

    def run(self, context: EvaluationContext) -> Result:
        bench = bench_of(self, context, "F")
        return _result(self.title, bench, {"": type(self).protocol(bench)})


@register_table
class Anonymisation(_Utility):
    id, title, needs = (
        "T8",
        "Anonymisation: trained on synthetic images alone",
        ("pipeline", "F", "T", "labels"),
    )
    protocol = anonymisation


@register_table
class Imbalance(_Utility):
    id, title, needs = (
        "T10",
        "Imbalance: positives filled up with synthetic images",
        ("pipeline", "F", "T", "labels"),
    )
    also, protocol = ("T9",), imbalance


@register_table
class Scarcity(_Utility):
    id, title, needs = (
        "T11",
        "Scarcity: real images completed by synthetic ones",
        ("pipeline", "F", "T", "labels"),
    )
    protocol = scarcity


@register_table
class Lateral(EvaluationTable):
    """The three protocols on lateral images."""

    id, title, needs = (
        "A3",
        "Anonymisation, imbalance and scarcity on lateral images",
        ("pipeline", "L", "T", "labels"),
    )
    version = 3
    also = ("A4", "A5")  # the appendix counts them A3 to A5

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return bench_options(context)

    def run(self, context: EvaluationContext) -> Result:
        bench = bench_of(self, context, "L")
        parts = {"T8: ": anonymisation(bench), "": imbalance(bench), "T11: ": scarcity(bench)}
        return _result(self.title, bench, parts)
