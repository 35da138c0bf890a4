"""`medcodi turing report`: the table of a study, with intervals and the agreement of its readers.

Legend: R readers, I items of a task.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medcodi.files import jsonable, write_text
from medcodi.metrics.statistics import auc, bootstrap
from medcodi.report.markdown import markdown_table
from medcodi.turing.choice import CHOICE_HEAD, CHOICE_NOTE, cell, choice_row, describe_choice
from medcodi.turing.server import RATINGS, STUDY
from medcodi.turing.store import Rating, RatingStore
from medcodi.turing.study import TRUTH, VERSION
from medcodi.turing.tasks import CHOICE, TASKS, Arm, Task, arm_of

RATING_NOTE = (
    "Mean +- sd of all ratings (1 to 5); the latest rating of a reader for an item counts. "
    "Brackets: 95 % intervals, items "
    "drawn with replacement (readers are taken as they are). AUC: how often a real item is rated "
    "above a synthetic one, by "
    "the mean of its readers; .5 means that ratings do not tell them apart. Alpha: Krippendorff's, "
    "for ordinal ratings; 1 "
    "is full agreement, 0 what chance gives. Paper: MedCoDi-M, table 7, other items and other "
    "readers."
)
RATING_HEAD = [
    "task",
    "items",
    "ratings",
    "real",
    "synthetic",
    "synthetic - real",
    "AUC",
    "alpha",
    "paper: real, synthetic",
]


def agreement(scores: np.ndarray) -> float:
    """Krippendorff's alpha of ordinal `scores` (R, I), NaN where a reader did not rate
    (Krippendorff, Content Analysis).

    NaN where it is not defined: no item with two ratings, or one score throughout.
    """
    import krippendorff

    paired = scores[:, (~np.isnan(scores)).sum(axis=0) >= 2]
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        return float("nan")
    return float(krippendorff.alpha(reliability_data=paired, level_of_measurement="ordinal"))


def describe_task(
    scores: np.ndarray, synthetic: np.ndarray, num_resamples: int, seed: int
) -> dict[str, Any]:
    """Figures of one task: `scores` (R, I) with NaN for no rating, `synthetic` (I,) bool."""

    def mean(items: np.ndarray, of: bool) -> float:
        chosen = scores[:, items[synthetic[items] == of]]
        chosen = chosen[~np.isnan(chosen)]
        return float(chosen.mean()) if len(chosen) else float("nan")

    def told_apart(items: np.ndarray) -> float:
        seen = items[~np.isnan(scores[:, items]).all(axis=0)]
        return (
            auc(~synthetic[seen], np.nanmean(scores[:, seen], axis=0))
            if len(seen)
            else float("nan")
        )

    def estimate(statistic: Any) -> dict[str, Any]:
        return asdict(bootstrap(statistic, scores.shape[1], num_resamples=num_resamples, seed=seed))

    figures: dict[str, Any] = {
        "num_items": scores.shape[1],
        "num_ratings": int((~np.isnan(scores)).sum()),
    }
    for name, of in (("real", False), ("synthetic", True)):
        ratings = scores[:, synthetic == of]
        ratings = ratings[~np.isnan(ratings)]
        figures[name] = {
            "num_ratings": len(ratings),
            **estimate(lambda items, of=of: mean(items, of)),
            "sd": float(ratings.std(ddof=1)) if len(ratings) > 1 else float("nan"),
        }
    figures["difference"] = estimate(lambda items: mean(items, True) - mean(items, False))
    figures["auc"] = estimate(told_apart)
    figures["alpha"] = estimate(lambda items: agreement(scores[:, items]))
    return figures


def report(folder: Path, num_resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Figures of a study folder. FileNotFoundError where it is none, ValueError where nothing is
    rated yet."""
    ratings, readers, truth = _read(folder)
    described = json.loads((folder / STUDY).read_text(encoding="utf-8"))
    if described.get("version") != VERSION:
        raise ValueError(
            f"{folder} has version {described.get('version')}, expected {VERSION}: report it with "
            "the medcodi that made it"
        )
    arm = arm_of(described["arm"])
    if not ratings:
        raise ValueError(
            f"{folder} holds no ratings yet: start it with `medcodi serve turing {folder}`"
        )
    by_task = _by_task(ratings, readers, truth)
    tasks = {
        task.key: {
            "title": task.title,
            **describe_task(*by_task[task.key], num_resamples, seed),
            **_of_arm(arm, task, by_task[task.key], num_resamples, seed),
        }
        for task in TASKS
    }
    return {
        "study": folder.name,
        "arm": arm.key,
        "num_resamples": num_resamples,
        "seed": seed,
        "tasks": tasks,
        "readers": [_reader(code, ratings, len(truth)) for code in readers],
    }


def _of_arm(
    arm: Arm, task: Task, answers: tuple[np.ndarray, np.ndarray], num_resamples: int, seed: int
) -> dict[str, Any]:
    """What one arm tells beyond the scores: its choices, or the paper's ratings."""
    if arm is CHOICE:
        return describe_choice(*answers, num_resamples, seed)
    return {"paper": {"real": task.paper[0], "synthetic": task.paper[1]}}


def note(figures: dict[str, Any]) -> str:
    """What the columns of `table` mean."""
    return CHOICE_NOTE if figures["arm"] == CHOICE.key else RATING_NOTE


def read_scores(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Task key -> scores (R, I), NaN where there is none, and which items are synthetic (I,).
    Errors as `report`."""
    return _by_task(*_read(folder))


def _read(folder: Path) -> tuple[list[Rating], list[str], dict[str, Any]]:
    store = RatingStore(folder / RATINGS)
    ratings, readers = store.latest(), list(store.readers())
    store.close()
    if not (folder / TRUTH).is_file():
        raise FileNotFoundError(
            f"{folder / TRUTH} is missing: without it nobody knows which items are synthetic"
        )
    return ratings, readers, json.loads((folder / TRUTH).read_text(encoding="utf-8"))["items"]


def _by_task(
    ratings: list[Rating], readers: list[str], truth: dict[str, Any]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    keys = {
        task.key: [key for key, told in truth.items() if told["task"] == task.key] for task in TASKS
    }
    return {
        task: (
            _matrix(ratings, readers, items),
            np.array([truth[key]["synthetic"] for key in items]),
        )
        for task, items in keys.items()
    }


def _matrix(ratings: list[Rating], readers: list[str], keys: list[str]) -> np.ndarray:
    """(R, I) scores, NaN where there is none."""
    scores = np.full((len(readers), len(keys)), np.nan)
    rows, columns = (
        {code: i for i, code in enumerate(readers)},
        {key: i for i, key in enumerate(keys)},
    )
    for rating in ratings:
        if rating.item in columns:
            scores[rows[rating.reader], columns[rating.item]] = rating.score
    return scores


def _reader(code: str, ratings: list[Rating], num_items: int) -> dict[str, Any]:
    own = [rating for rating in ratings if rating.reader == code]
    seconds = [rating.seconds for rating in own if rating.seconds is not None]
    median = float(np.median(seconds)) if seconds else None
    return {"reader": code, "rated": len(own), "items": num_items, "median_seconds": median}


def table(figures: dict[str, Any]) -> list[list[str]]:
    """Rows of text, the head first."""
    if figures["arm"] == CHOICE.key:
        return [CHOICE_HEAD, *(choice_row(told) for told in figures["tasks"].values())]
    rows = [RATING_HEAD]
    by_key: dict[str, Task] = {task.key: task for task in TASKS}
    for key, told in figures["tasks"].items():
        real, made = (cell(told[name], 1, told[name]["sd"]) for name in ("real", "synthetic"))
        paper = ", ".join(f"{mean:.1f} +- {sd:.1f}" for mean, sd in by_key[key].paper)
        ranges = [cell(told[name], 2) for name in ("difference", "auc", "alpha")]
        rows.append(
            [
                told["title"],
                str(told["num_items"]),
                str(told["num_ratings"]),
                real,
                made,
                *ranges,
                paper,
            ]
        )
    return rows


def markdown(figures: dict[str, Any]) -> str:
    head, *rows = table(figures)
    readers = [
        f"- {r['reader']}: {r['rated']} of {r['items']} items"
        + (
            f", median {r['median_seconds']:.0f} s an item"
            if r["median_seconds"] is not None
            else ""
        )
        for r in figures["readers"]
    ]
    return "\n".join(
        [
            "# Visual Turing test",
            "",
            markdown_table(head, rows),
            "",
            note(figures),
            "",
            "Readers:",
            "",
            *readers,
            "",
        ]
    )


def write_report(figures: dict[str, Any], output: Path) -> None:
    """`output` / turing.json and turing.md."""
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "turing.json", json.dumps(jsonable(figures), indent=1))
    write_text(output / "turing.md", markdown(figures))
