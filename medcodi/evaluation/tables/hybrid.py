"""Hybrid: images with their rows. Outcome AUC at mixing ratios and the coherence rank (Kikuchi et
al., Tables 4 and 5)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medcodi.config_io import unknown_key
from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.evaluation.charts import roc_curves
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.records import fit_settings, generated_records, real_test
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics import hybrid
from medcodi.metrics.hybrid import Records
from medcodi.metrics.networks.fitting import FitSettings
from medcodi.metrics.networks.records import PairEncoders, predict_outcome
from medcodi.metrics.statistics import bootstrap

AUC, DIFFERENCE, P, RANK, QUARTILES, P_RANK = (
    "outcome AUC",
    "difference to 1:0",
    "p (DeLong, Holm)",
    "median rank",
    "rank quartiles",
    "p (Wilcoxon)",
)
DEFAULT_OUTCOME = {"column": "last_status", "positive": ["deceased"]}


def ratio_name(share_real: float) -> str:
    return ":".join(f"{share:g}".removeprefix("0") or "0" for share in (share_real, 1 - share_real))


@register_table
class Hybrid(EvaluationTable):
    """Real, generated and other real records at equal numbers, tested on real held-out ones."""

    id, title, needs = (
        "hybrid",
        "Image and row together: outcome and coherence rank",
        ("pipeline", "F", "table"),
    )
    version = 2

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return {
            "num_records": context.settings.num_studies,
            "num_test": 2000,
            "seeds": [0, 1],
            "outcome": DEFAULT_OUTCOME,
            "fit": {},
        }

    def run(self, context: EvaluationContext) -> Result:
        options = self.options(context)
        schema = context.studies.split("train").schemas[context.studies.name("table")]
        read = reader(options["outcome"], schema)
        held_out = real_test(context, ["F", "table"], options["num_test"])
        held_out = list(
            {study.patient_id: study for study in held_out}.values()
        )  # DeLong's rows are independent
        made = generated_records(context, options["num_records"])
        training = context.studies.training(["F", "table"], 2 * options["num_records"])
        real, other = training[: len(training) // 2], training[len(training) // 2 :]
        parts = {
            "test": read(*self._values(context, held_out)),
            "real": read(*self._values(context, real)),
            "other": read(*self._values(context, other)),
            "synthetic": read(np.stack(made["F"]), made["table"]),
        }
        count = min(len(parts[name]) for name in ("real", "other", "synthetic"))
        parts |= {
            name: parts[name].take(np.arange(count)) for name in ("real", "other", "synthetic")
        }
        settings = fit_settings(
            options["fit"], parts["test"].images.shape[1], "evaluation.tables.hybrid"
        )
        scores = outcome_scores(parts, settings, options["seeds"], context.seed)
        rows, figures = _outcome_rows(parts["test"].outcome, scores)
        values = context.studies.values(held_out, "table")
        kept = np.array([row.get(options["outcome"]["column"]) is not None for row in values])
        rows += _known_rows(held_out, parts["test"].outcome, kept)
        ranked, more = _rank_rows(parts, settings, context.seed)
        picture = context.picture("hybrid_roc")
        shown = {name: scores[name] for name in (ratio_name(1.0), ratio_name(0.0), "both")}
        roc_curves({name: (parts["test"].outcome, score) for name, score in shown.items()}, picture)
        return Result(
            self.title,
            [AUC, DIFFERENCE, P, RANK, QUARTILES, P_RANK],
            [*rows, *ranked, *published("hybrid")],
            len(parts["test"]),
            [context.seed, *options["seeds"]],
            self._notes(options, parts, settings, count),
            figures | more,
            {"ROC of the outcome by training set, real:synthetic": str(picture)},
        )

    @staticmethod
    def _values(
        context: EvaluationContext, studies: Sequence[Study]
    ) -> tuple[np.ndarray, list[dict]]:
        return context.studies.images(studies, "F"), context.studies.values(studies, "table")

    @staticmethod
    def _notes(
        options: dict[str, Any], parts: dict[str, Records], settings: FitSettings, count: int
    ) -> list[str]:
        positive = {name: int(part.outcome.sum()) for name, part in parts.items()}
        outcome = f"{options['outcome']['column']} in {', '.join(options['outcome']['positive'])}"
        return [
            f"Outcome: {outcome}; it stands in no input. {count} training records of each kind "
            "(with the outcome: real "
            f"{positive['real']}, synthetic {positive['synthetic']}), tested on "
            f"{len(parts['test'])} real held-out records "
            f"({positive['test']} with the outcome).",
            f"Network: {settings.network} for the image, one layer for the row, mean of "
            f"{len(options['seeds'])} seeds; a "
            "quarter of each training set stops it early. The paper's architectures are not "
            "published with it.",
            "Ratios real:synthetic replace real records by synthetic ones at random; `both` takes "
            "all of both. Other real "
            "records in place of the synthetic ones show what perfect generation would give.",
            "Rank: an image's own row among the rows of all test records (1 is best; chance is the "
            "middle), by encoders "
            "trained on pairs of the named set. p (Wilcoxon) compares with real pairs.",
            "One study of each test patient, so that rows are patients. Records are generated "
            "without a prompt: a retrieved "
            "record is another real one.",
        ]


def reader(
    outcome: dict[str, Any], schema: TableSchema
) -> Callable[[np.ndarray, list[dict]], Records]:
    """Images and rows -> Records; records without the outcome are left out. ValueError for a column
    that is not there."""
    columns = {column.name: column for column in schema.columns}
    name, positive = outcome.get("column"), outcome.get("positive") or []
    where = "evaluation.tables.hybrid.outcome"
    if name not in columns or not columns[name].is_discrete:
        valid = [column.name for column in schema.columns if column.is_discrete]
        raise ValueError(f"{where}.column must be one of {valid}, got {name!r}")
    for value in positive:
        if value not in columns[name].categories:
            raise unknown_key(str(value), columns[name].categories, f"{where}.positive")
    if not positive:
        raise ValueError(
            f"{where}.positive must list values of {name!r}: {columns[name].categories}"
        )

    def read(images: np.ndarray, rows: list[dict]) -> Records:
        known = np.array([row.get(name) is not None for row in rows], bool)
        if not known.any():
            raise ValueError(f"no record has the outcome {name!r}")
        deceased = np.array([row.get(name) in positive for row in rows], bool)
        return Records(
            images[known], hybrid.row_features(rows, schema, [name])[known], deceased[known]
        )

    return read


def outcome_scores(
    parts: dict[str, Records], settings: FitSettings, seeds: Sequence[int], seed: int
) -> dict[str, np.ndarray]:
    """Training set -> scores of the test records. ValueError for real records that know one
    outcome only."""
    real, other, test = parts["real"], parts["other"], parts["test"]
    outcomes = np.random.default_rng(seed).permutation(real.outcome)
    sets = mixed_sets(real, parts["synthetic"], seed) | {
        "0:1, other real records": other,
        "both, other real records": real + other,
        "1:0, outcomes shuffled": Records(real.images, real.rows, outcomes),
    }
    alone = predict_outcome(real, test, settings, seeds)
    scored = {name: scores_of(train, test, settings, seeds) for name, train in sets.items()}
    return {ratio_name(1.0): alone} | scored


def mixed_sets(real: Records, synthetic: Records, seed: int) -> dict[str, Records]:
    """The sets that synthetic records stand in, by their share and `both`; `replaced` says how."""
    shares = hybrid.RATIOS[1:]
    mixed = {ratio_name(of): hybrid.replaced(real, synthetic, of, seed) for of in shares}
    return mixed | {"both": real + synthetic}


def scores_of(
    train: Records, test: Records, settings: FitSettings, seeds: Sequence[int]
) -> np.ndarray:
    """Scores of the test records; equal ones from a set that knows one outcome only, which teaches
    a constant."""
    if min(train.outcome.sum(), (~train.outcome).sum()) < 2:
        return np.zeros(len(test))
    return predict_outcome(train, test, settings, seeds)


def _outcome_rows(
    outcome: np.ndarray, scores: dict[str, np.ndarray]
) -> tuple[list[Row], dict[str, float]]:
    reference = scores[ratio_name(1.0)]
    tests = {name: hybrid.delong(outcome, score, reference) for name, score in scores.items()}
    ours = [
        name
        for name in scores
        if name != ratio_name(1.0) and "real records" not in name and "shuffled" not in name
    ]
    adjusted = dict(
        zip(ours, hybrid.holm([tests[name].p for name in ours]), strict=True)
    )  # the paper's five comparisons
    rows, figures = [], {}
    for name, test in tests.items():
        cells: dict[str, Any] = {AUC: test.first}
        if name != ratio_name(1.0):
            cells[DIFFERENCE] = test.difference
        if name in adjusted:
            cells[P] = adjusted[name]
        real = name == ratio_name(1.0) or "real records" in name
        rows.append(
            Row(
                f"outcome, {name}",
                "real" if real else "floor" if "shuffled" in name else "ours",
                cells,
            )
        )
        figures[f"auc.{name}"] = test.first.value
    return rows, figures


def _known_rows(studies: Sequence[Study], outcome: np.ndarray, kept: np.ndarray) -> list[Row]:
    """A constant, and the true risk where the phantom states it. `kept` (N,) bool: studies with an
    outcome."""
    rows = [Row("outcome, a constant (class prior)", "floor", {AUC: 0.5}, len(outcome))]
    risks = [(study.truth or {}).get("outcome_probability") for study in studies]
    if all(risk is not None for risk in risks):
        risk = np.array(risks, float)[kept]
        best = hybrid.delong(outcome, risk, risk).first
        rows.append(
            Row("outcome, true risk (the best that any network can do)", "real", {AUC: best})
        )
    return rows


def _rank_rows(
    parts: dict[str, Records], settings: FitSettings, seed: int
) -> tuple[list[Row], dict[str, float]]:
    test, real, order = (
        parts["test"],
        parts["real"],
        np.random.default_rng(seed).permutation(len(parts["real"])),
    )
    pairs = {
        "real pairs": ("real", real.images, real.rows),
        "synthetic pairs": ("ours", parts["synthetic"].images, parts["synthetic"].rows),
        "other real pairs": ("real", parts["other"].images, parts["other"].rows),
        "shuffled real pairs": ("floor", real.images, real.rows[order]),
    }
    ranks = {
        name: PairEncoders(settings, seed).fit(images, rows).ranks(test.images, test.rows)
        for name, (_, images, rows) in pairs.items()
    }
    rows, figures = [], {}
    for name, (kind, _, _) in pairs.items():
        summary = hybrid.rank_summary(ranks[name])
        median = bootstrap(
            lambda rows, r=ranks[name]: float(np.median(r[rows])), len(test), seed=seed
        )
        cells = {
            RANK: median,
            QUARTILES: f"{summary['low']:.0f} - {summary['high']:.0f} of {summary['n']}",
        }
        if name != "real pairs":
            cells[P_RANK] = hybrid.wilcoxon(ranks[name], ranks["real pairs"])
        rows.append(Row(f"rank, trained on {name}", kind, cells))
        figures[f"rank.{name}"] = summary["median"]
    middle = (len(test) + 1) / 2
    return [*rows, Row("rank, chance", "floor", {RANK: middle}, len(test))], figures | {
        "rank.chance": middle
    }
