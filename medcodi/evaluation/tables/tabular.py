"""Tabular: the generated rows beside real ones. Quality and utility of the table, and Radwan's
moments."""

import dataclasses
import importlib.metadata
from typing import Any

import numpy as np
import pandas as pd

from medcodi.data.table import TableSchema
from medcodi.evaluation.charts import column_histograms, moments_chart
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.papers import published
from medcodi.evaluation.records import real_test
from medcodi.evaluation.routes import patients
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics import tabular
from medcodi.metrics.statistics import bootstrap_each
from medcodi.metrics.table_quality import sdmetrics_scores, shape_and_trend

COLUMNS = ["shape", "trend", "C2ST score", "C2ST AUC", "efficacy AUC"]
SYSTEMS = {"real": "real", "generated": "generated", "other": "other real rows"}
NUM_ROWS = 400  # a row is cheap to generate, and 100 do not tell relations from noise


@dataclasses.dataclass
class Frames:
    """Equally many rows: `real` held-out, `generated` without a prompt, `other` real ones of
    training patients, `independent`, the columns of `other` permuted, and `constant`, its most
    typical values over and over. `groups`:
    patients of the real ones. `notes`: columns that are left out, because one side has no value in
    them."""

    rows: dict[str, pd.DataFrame]
    groups: dict[str, list[str]]
    schema: TableSchema
    notes: list[str]

    def quality(self, name: str, context: EvaluationContext) -> dict[str, Any]:
        both = self.groups["real"], self.groups.get(name)
        resamples = min(context.settings.num_resamples, 200)
        return shape_and_trend(
            self.rows["real"], self.rows[name], self.schema, both, resamples, context.seed
        )


def frames(table: EvaluationTable, context: EvaluationContext) -> Frames:
    options = table.options(context)
    schema = context.studies.split("train").schemas[context.studies.name("table")]
    held_out = real_test(context, ["table"], options["num_rows"])
    training = context.studies.training(["table"], len(held_out))
    count = min(len(held_out), len(training))
    generated = context.generations.samples((), ["table"], studies=training[:count])["table"]
    real, other = (
        context.studies.values(studies[:count], "table") for studies in (held_out, training)
    )
    made = {
        n: tabular.table_frame(rows, schema)
        for n, rows in (("real", real), ("generated", generated), ("other", other))
    }
    empty = {
        name: [n for n, frame in made.items() if frame[name].isna().all()] for name in schema.names
    }
    notes = [
        f"Left out, without a value in {' and '.join(sides)} rows: {name}."
        for name, sides in empty.items()
        if sides
    ]
    schema = TableSchema([column for column in schema.columns if not empty[column.name]])
    made = {name: frame[schema.names] for name, frame in made.items()}
    made["independent"] = tabular.independent_marginals(made["other"], context.seed)
    made["constant"] = tabular.constant_rows(made["other"])
    return Frames(
        made,
        {"real": patients(held_out[:count]), "other": patients(training[:count])},
        schema,
        notes,
    )


class _Rows(EvaluationTable):
    """Of generated rows beside real ones."""

    needs, version = ("pipeline", "table"), 2

    def defaults(self, context: EvaluationContext) -> dict[str, Any]:
        return {"num_rows": NUM_ROWS}


@register_table
class Tabular(_Rows):
    """SDMetrics shape and trend, two-sample test by trees, ML efficacy."""

    id, title = "tabular", "Table rows: shape, trend, two-sample test, ML efficacy"

    def run(self, context: EvaluationContext) -> Result:
        made = frames(self, context)
        real, schema = made.rows["real"], made.schema
        systems = {
            "generated": ("ours", "generated"),
            "other real rows (training patients)": ("real", "other"),
            "independent marginals": ("floor", "independent"),
            "one row for all (constant)": ("baseline", "constant"),
        }
        rows, figures = [], {}
        for system, (kind, name) in systems.items():
            frame, quality = made.rows[name], made.quality(name, context)
            theirs = made.groups.get(name) or [f"{name} {i}" for i in range(len(frame))]
            told = tabular.two_sample(
                real, frame, schema, context.seed, groups=[*made.groups["real"], *theirs]
            )
            useful = tabular.efficacy(
                frame, real, schema, seed=context.seed, groups=made.groups["real"]
            )
            cells = [quality["shape"], quality["trend"], told["score"], told["auc"], useful.mean]
            rows.append(Row(system, kind, dict(zip(COLUMNS, cells, strict=True))))
            key = "real" if name == "other" else name
            figures |= {f"{key}.{column}": rows[-1].value(column) for column in COLUMNS}
        rows += published("tabular")
        picture = context.picture("tabular_columns")
        column_histograms(real, made.rows["generated"], schema, picture)
        targets = ", ".join(sorted(useful.scores))
        return Result(
            self.title,
            COLUMNS,
            rows,
            len(real),
            [context.seed],
            [
                "All against the same held-out rows, at the same N. Independent marginals have the "
                "right columns, unrelated to "
                "each other: shape cannot tell them from real rows; read trend, two-sample test "
                "and efficacy against both. "
                "Rows are generated without a prompt: a retrieved row is another real row.",
                "Two-sample test and efficacy use LightGBM trees (the papers: XGBoost). C2ST "
                "score: 1 - max(0, 2 AUC - 1), by "
                "5-fold cross-validation; 1 is best. C2ST AUC: .5 is best.",
                "Efficacy: trained on the system's rows, tested on real held-out rows, mean AUC "
                f"over {targets}.",
                compared(made, {column: rows[0].value(column) for column in ("shape", "trend")}),
                "The papers' tables are other data sets, and larger: at this N real rows do not "
                "reach 1 either.",
                *made.notes,
            ],
            figures,
            {"columns, real and generated": str(picture)},
        )


def compared(made: Frames, ours: dict[str, float]) -> str:
    """What SDMetrics itself says, where it is installed. ValueError where it differs."""
    own = "Shape and trend: SDMetrics' formulas, with intervals by a bootstrap over patients."
    theirs = sdmetrics_scores(made.rows["real"], made.rows["generated"], made.schema)
    if theirs is None:
        return f"{own} SDMetrics, the extra `sdmetrics`, is not installed and was not asked."
    apart = max(abs(theirs[name] - ours[name]) for name in ours)
    if not apart < 1e-6:
        raise ValueError(
            f"SDMetrics gives {theirs}, our formulas {ours}: another version of SDMetrics?"
        )
    return (
        f"{own} SDMetrics {importlib.metadata.version('sdmetrics')} gives the same for the "
        "generated rows."
    )


@register_table
class Moments(_Rows):
    """Radwan, Table I, and the shares of categories."""

    id, title = "moments", "Table rows: moments of each column (Radwan, Table I)"

    def run(self, context: EvaluationContext) -> Result:
        made = frames(self, context)
        systems = {"real": "real", "generated": "ours", "other": "floor"}
        shapes = {name: made.quality(name, context)["columns"] for name in ("generated", "other")}
        described = {name: tabular.moments(made.rows[name], made.schema) for name in systems}
        rows, figures = [], {}
        for j, column in enumerate(made.schema.columns):
            for name, kind in systems.items():
                about = described[name][j]
                cells: dict[str, Any] = {"missing": about["missing"]}
                if column.is_discrete:
                    cells["shares"] = ", ".join(
                        f"{c} {share:.3f}" for c, share in about["shares"].items()
                    )
                else:
                    cells |= self._numbers(context, made, name, column.name)
                if name in shapes:
                    cells["shape"] = shapes[name][column.name]
                    figures[f"{column.name}.{name}.shape"] = cells["shape"].value
                rows.append(Row(f"{column.name}: {SYSTEMS[name]}", kind, cells, about["n"]))
        pictures = {}
        if any(not column.is_discrete for column in made.schema.columns):
            path = context.picture("moments")
            numbers = [column.name for column in made.schema.columns if not column.is_discrete]
            by_name = {row.system: row.cells for row in rows}
            moments_chart(
                {s: {n: by_name[f"{n}: {s}"] for n in numbers} for s in SYSTEMS.values()},
                tabular.MOMENTS,
                path,
            )
            pictures["moments of the numbers, real and generated, with 95 % intervals"] = str(path)
        return Result(
            self.title,
            ["missing", *tabular.MOMENTS, "shares", "shape"],
            rows,
            len(made.rows["real"]),
            [context.seed],
            [
                "N: known values. Skewness and excess kurtosis of the known values (0 for a normal "
                "column). Shape: 1 - "
                "Kolmogorov-Smirnov or total variation distance to the real held-out rows; other "
                "real rows (training patients) "
                "are its floor.",
                "The paper's columns (Age, eTIV, nWBV, ASF of OASIS) are of another table: its "
                "numbers say nothing here.",
                *made.notes,
            ],
            figures,
            pictures,
        )

    def _numbers(
        self, context: EvaluationContext, made: Frames, name: str, column: str
    ) -> dict[str, Any]:
        values = made.rows[name][column].to_numpy(float)
        known, groups = ~np.isnan(values), made.groups.get(name)
        estimates = bootstrap_each(
            lambda rows: tabular.number_moments(values[known][rows]),
            int(known.sum()),
            None if groups is None else np.array(groups)[known],
            min(context.settings.num_resamples, 200),
            context.seed,
        )
        return dict(zip(tabular.MOMENTS, estimates, strict=True))
