"""Tabular: the generated rows beside real ones. Quality and utility of the table, and Radwan's moments."""

from typing import Any

import numpy as np
import pandas as pd

from medcodi.data.table import TableSchema
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.records import options_of, real_test
from medcodi.evaluation.table import EvaluationTable, Result, Row, register_table
from medcodi.metrics import tabular

COLUMNS = ["shape", "trend", "C2ST score", "C2ST AUC", "efficacy AUC"]
PAPER = {"TabDiff, mean of 6 tables": (0.987, 0.981, 0.624), "CTGAN, mean of 6 tables": (0.831, 0.809, 0.017)}
NUM_ROWS = 400  # a row is cheap to generate, and 100 do not tell relations from noise


def frames(table: EvaluationTable, context: EvaluationContext) -> tuple[dict[str, pd.DataFrame], TableSchema]:
    """Equally many rows: `real` held-out, `generated` without a prompt, `other` real ones of training patients, and
    `independent`, the columns of `other` permuted."""
    options = options_of(table, context, num_rows=NUM_ROWS)
    schema = context.split("train").schemas[context.name("table")]
    held_out = real_test(context, ["table"], options["num_rows"])
    training = context.training(["table"], len(held_out))
    count = min(len(held_out), len(training))
    generated = context.generated((), ["table"], studies=training[:count])["table"]
    real, other = (context.values(studies[:count], "table") for studies in (held_out, training))
    made = {n: tabular.table_frame(rows, schema) for n, rows in (("real", real), ("generated", generated), ("other", other))}
    return made | {"independent": tabular.independent_marginals(made["other"], context.seed)}, schema


@register_table
class Tabular(EvaluationTable):
    """SDMetrics shape and trend, two-sample test by trees, ML efficacy."""

    id, title, needs = "tabular", "Table rows: shape, trend, two-sample test, ML efficacy", ("pipeline", "table")

    def run(self, context: EvaluationContext) -> Result:
        made, schema = frames(self, context)
        systems = {
            "generated": ("ours", made["generated"]),
            "other real rows (training patients)": ("real", made["other"]),
            "independent marginals": ("floor", made["independent"]),
        }
        rows, figures = [], {}
        for name, (kind, frame) in systems.items():
            quality = tabular.shape_and_trend(made["real"], frame, schema)
            told = tabular.two_sample(made["real"], frame, schema, context.seed)
            useful = tabular.efficacy(frame, made["real"], schema, seed=context.seed)
            cells = [quality["shape"], quality["trend"], told["score"], told["auc"], useful.mean]
            rows.append(Row(name, kind, dict(zip(COLUMNS, cells, strict=True))))
            key = {"ours": "generated", "real": "real", "floor": "independent"}[kind]
            figures |= {f"{key}.{c}": getattr(v, "value", v) for c, v in zip(COLUMNS, cells, strict=True)}
        rows += [Row(name, "paper", dict(zip(COLUMNS[:3], values, strict=True))) for name, values in PAPER.items()]
        picture = context.picture("tabular_columns")
        plot_columns(made["real"], made["generated"], schema, picture)
        targets = ", ".join(sorted(useful.scores))
        return Result(
            self.title, COLUMNS, rows, len(made["real"]), [context.seed],
            ["All against the same held-out rows, at the same N. Independent marginals have the right columns, unrelated to "
             "each other: shape cannot tell them from real rows; read trend, two-sample test and efficacy against both.",
             "Two-sample test and efficacy use LightGBM trees (the papers: XGBoost). C2ST score: 1 - max(0, 2 AUC - 1), by "
             "5-fold cross-validation; 1 is best. C2ST AUC: .5 is best.",
             f"Efficacy: trained on the system's rows, tested on real held-out rows, mean AUC over {targets}.",
             "The papers' tables are other data sets, and larger: at this N real rows do not reach 1 either."],
            figures, {"columns, real and generated": str(picture)},
        )  # fmt: skip


@register_table
class Moments(EvaluationTable):
    """Radwan, Table I, and the shares of categories."""

    id, title, needs = "moments", "Table rows: moments of each column (Radwan, Table I)", ("pipeline", "table")

    def run(self, context: EvaluationContext) -> Result:
        made, schema = frames(self, context)
        columns = ["n", "missing", "mean", "sd", "skewness", "kurtosis", "shares", "shape"]
        systems = {"real": "real", "generated": "ours", "other": "floor"}
        shapes = {n: tabular.shape_and_trend(made["real"], made[n], schema)["columns"] for n in ("generated", "other")}
        moments = {name: tabular.moments(made[name], schema) for name in systems}
        rows, figures = [], {}
        for j, column in enumerate(schema.names):
            for name, kind in systems.items():
                cells: dict[str, Any] = dict(moments[name][j])
                cells.pop("column")
                if "shares" in cells:
                    cells["shares"] = ", ".join(f"{c} {share:.3f}" for c, share in cells["shares"].items())
                if name in shapes:
                    cells["shape"] = shapes[name][column]
                    figures[f"{column}.{name}.shape"] = shapes[name][column]
                rows.append(Row(f"{column}: {'other real rows' if name == 'other' else name}", kind, cells))
        return Result(
            self.title, columns, rows, len(made["real"]), [context.seed],
            ["Skewness and excess kurtosis of the known values (0 for a normal column). Shape: 1 - Kolmogorov-Smirnov or "
             "total variation distance to the real held-out rows; other real rows (training patients) are its floor.",
             "The paper's columns (Age, eTIV, nWBV, ASF of OASIS) are of another table: its numbers say nothing here."],
            figures,
        )  # fmt: skip


def plot_columns(real: pd.DataFrame, generated: pd.DataFrame, schema: TableSchema, path: Any) -> None:
    """Histogram or bars of each column, real and generated."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    height = -(-len(schema.columns) // 4)
    figure, axes = plt.subplots(height, 4, figsize=(13, 2.4 * height), squeeze=False)
    for axis in axes.flat[len(schema.columns) :]:
        axis.set_axis_off()
    for column, axis in zip(schema.columns, axes.flat, strict=False):
        pair = [frame[column.name].dropna() for frame in (real, generated)]
        axis.set_title(column.name, fontsize=8)
        axis.tick_params(labelsize=7)
        if column.is_discrete:
            at = np.arange(len(column.categories))
            for i, values in enumerate(pair):
                shares = [float((values == c).mean()) if len(values) else 0.0 for c in column.categories]
                axis.bar(at + 0.4 * (i - 0.5), shares, 0.4)
            axis.set_xticks(at, column.categories, fontsize=6)
        else:
            edges = np.histogram_bin_edges(pd.concat(pair), 20)
            for values in pair:
                axis.hist(values, edges, density=True, alpha=0.55)
    axes.flat[0].legend(["real", "generated"], fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
