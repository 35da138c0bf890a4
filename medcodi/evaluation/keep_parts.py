"""Do columns and sentences that are generated follow what is kept of their row and report?

*Row*: each column given the others, beside a regression on real rows. *Report*: the sentences about
effusions, given the others and an image, with the phantom's truth. Legend: N studies.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medcodi.data.study import Study
from medcodi.data.table import TableSchema
from medcodi.evaluation.context import EvaluationContext
from medcodi.evaluation.keep_regions import Figure, share_figure
from medcodi.evaluation.routes import patients
from medcodi.metrics.statistics import auc, pearson
from medcodi.modalities.report_parts import SENTENCE
from medcodi.nn.seeding import derive_seed
from medcodi.phantom import read_report
from medcodi.phantom.anatomy import SIDES

NUM_DRAWS = 8  # completions of a row, whose mean is the score


def row_figures(context: EvaluationContext, studies: Sequence[Study]) -> list[Figure]:
    """Each column given all others: AUC of the mean of several completions for a category against
    the rest (the rarest that is not too rare), r for a number. Floor: rows of no condition. Real:
    a regression on training rows, drawn as often where the column is a category."""
    name = context.studies.name("table")
    modality = context.generations.pipeline.family.modality(name)
    table = modality.collate([study.values[name] for study in studies]).numpy()
    training = context.studies.training(["table"])
    known = modality.collate([study.values[name] for study in training]).numpy()
    rows: list[Figure] = []
    for j, column in enumerate(modality.schema.columns):
        there = np.flatnonzero(~np.isnan(table[:, j]))
        target = target_of(known[:, j], column.is_discrete)
        given = [
            {k: v for k, v in studies[i].values[name].items() if k != column.name and v is not None}
            for i in there
        ]
        drawn = {}
        for key, parts in (("value", given), ("floor", [None] * len(given))):
            made = _completions(context, name, studies, there, column.name, parts)
            drawn[key] = target(modality.collate(made)[:, j].numpy()).reshape(-1, len(there))
        predicted = regression(known, table[there], j, modality.schema, target)
        truth, figure = target(table[there, j]), auc if column.is_discrete else pearson
        mean = {key: np.nanmean(values, axis=0) for key, values in drawn.items()}
        rng = np.random.default_rng(context.seed)
        real = rng.binomial(NUM_DRAWS, predicted) / NUM_DRAWS if column.is_discrete else predicted
        rows.append(
            {
                "figure": f"{column.name} given the others: {'AUC' if column.is_discrete else 'r'}",
                "n": len(there),
                "value": figure(truth, mean["value"]),
                "floor": figure(truth, mean["floor"]),
                "real": figure(truth, real),
            }
        )
    return rows


def _completions(
    context: EvaluationContext,
    name: str,
    studies: Sequence[Study],
    rows: np.ndarray,
    column: str,
    parts: Sequence[dict[str, Any] | None],
) -> list[dict[str, Any]]:
    """NUM_DRAWS times N rows."""
    made: list[dict[str, Any]] = []
    for draw in range(NUM_DRAWS):
        made += context.generations.pipeline(
            None,
            [name],
            context.settings.num_inference_steps,
            keep={name: list(parts)} if any(parts) else None,
            num_images_per_prompt=1 if any(parts) else len(rows),
            seeds=[derive_seed(context.seed, studies[i].study_id, column, draw) for i in rows],
            batch_size=len(rows),
        ).stored[name]
    return made


def target_of(values: np.ndarray, is_discrete: bool) -> Any:
    """What is predicted of a column, as a function of its encoded cells (N,), NaN missing: the
    number, or whether it is its rarest category of at least 2 %."""
    if not is_discrete:
        return lambda cells: cells
    found, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    often = counts >= 0.02 * counts.sum()
    rarest = found[often][counts[often].argmin()]
    return lambda cells: np.where(np.isnan(cells), np.nan, cells == rarest)


def regression(
    training: np.ndarray, rows: np.ndarray, j: int, schema: TableSchema, target: Any
) -> np.ndarray:
    """Prediction of the target of column j for `rows` from the other columns: logistic for a
    category, ridge for a number."""
    from sklearn.linear_model import LogisticRegression, Ridge

    there = ~np.isnan(training[:, j])
    inputs, wanted = _inputs(training, j, schema)[there], target(training[there, j])
    if not schema.columns[j].is_discrete:
        return Ridge(10).fit(inputs, wanted).predict(_inputs(rows, j, schema))
    model = LogisticRegression(max_iter=2000, C=0.3).fit(inputs, wanted)
    return model.predict_proba(_inputs(rows, j, schema))[:, 1]


def _inputs(table: np.ndarray, j: int, schema: TableSchema) -> np.ndarray:
    columns = []
    for k, column in enumerate(schema.columns):
        if k == j:
            continue
        cells = table[:, k]
        if column.is_discrete:
            columns += [cells == value for value in range(len(column.categories))]
        else:
            columns.append(np.nan_to_num(cells))
        columns.append(np.isnan(cells))
    return np.stack(columns, axis=1).astype(float)


def report_figures(context: EvaluationContext, studies: Sequence[Study]) -> list[Figure]:
    """The sentences about effusions, generated between the others from the frontal image: AUC of
    both sides against the truth. Floor: without the image. Real: the sentences that stood there."""
    report, frontal = context.studies.name("T"), context.studies.name("F")
    open_studies, parts = [], []
    for study in studies:
        part = without_effusion(study.values[report])
        if part is not None:
            open_studies.append(study)
            parts.append(part)
    filled = {}
    for key, prompts in (
        ("value", {frontal: [study.values[frontal] for study in open_studies]}),
        ("floor", None),
    ):
        filled[key] = context.generations.pipeline(
            prompts,
            [report],
            context.settings.num_inference_steps,
            keep={report: parts},
            seeds=[derive_seed(context.seed, study.study_id, "infill") for study in open_studies],
            batch_size=context.settings.batch_size,
        ).stored[report]
    filled["real"] = [study.values[report] for study in open_studies]
    truth = np.array([s.truth[f"effusion_{side}"] > 0 for s in open_studies for side in SIDES])
    read = {
        key: np.array([f for text in texts for f in _effusions(text)], float)
        for key, texts in filled.items()
    }
    kept = [
        all(piece.strip() in text for piece in part.split("..."))
        for part, text in zip(parts, filled["value"], strict=True)
    ]
    row: Figure = {"figure": "effusions of an infilled report: AUC", "n": len(open_studies)}
    return [
        row | {key: auc(truth, found) for key, found in read.items()},
        share_figure("kept sentences there word for word", np.array(kept), patients(open_studies)),
    ]


def _effusions(text: str) -> list[bool]:
    read = read_report(text)
    return [read[f"effusion_{side}"] not in (None, "none") for side in SIDES]


def without_effusion(text: str) -> str | None:
    """A report with a gap where sentences name an effusion; None where they are not side by side,
    or nothing else is said."""
    sentences = SENTENCE.split(text)
    named = [i for i, s in enumerate(sentences) if "effusion" in s or "pleural" in s]
    if not named or len(named) == len(sentences) or named[-1] - named[0] >= len(named):
        return None
    return " ".join([*sentences[: named[0]], "...", *sentences[named[-1] + 1 :]])
