"""How good is the labeler? Its labels beside a human gold standard, with intervals and floors.

The gold: `data/openi_gold` (14 columns of ChestX-ray14, 0/1, from NegBio: Peng et al. 2018). The
report texts come with the installed torchxrayvision (CC BY-NC-ND 4.0: read, never copied). Legend:
R reports, K columns.
"""

import hashlib
import importlib.util
import tarfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from medcodi.labeler.scope import NEGATIVE, POSITIVE, UNCERTAIN
from medcodi.metrics.statistics import bootstrap, f1

SECTIONS = ("FINDINGS", "IMPRESSION")
NORMAL = "normal"


def openi_archive() -> Path | None:
    """The Open-i report archive inside the installed torchxrayvision; None without it."""
    found = importlib.util.find_spec("torchxrayvision")
    archive = (
        Path(found.origin).parent / "data" / "NLMCXR_reports.tgz"
        if found and found.origin
        else None
    )
    return archive if archive and archive.is_file() else None


def openi_reports(archive: Path) -> dict[str, str]:
    """Open-i report id -> findings and impression, a blank line in between."""
    reports = {}
    with tarfile.open(archive) as files:
        for member in files:
            if member.name.endswith(".xml"):
                root = ElementTree.parse(files.extractfile(member)).getroot()
                parts = {part.get("Label"): part.text or "" for part in root.iter("AbstractText")}
                reports[root.find("uId").get("id")] = "\n\n".join(
                    parts.get(name, "") for name in SECTIONS
                )
    return reports


def read_gold(path: str | Path, archive: Path) -> tuple[list[str], pd.DataFrame]:
    """(texts, gold (R, K) bool with the report ids as index) by row. ValueError when a report is
    not in the archive."""
    gold = pd.read_csv(path, index_col="filename").drop(columns=NORMAL).astype(bool)
    reports = openi_reports(archive)
    if unknown := [name for name in gold.index if name not in reports]:
        raise ValueError(
            f"{len(unknown)} reports of {path} are not in {archive.name}, first {unknown[0]}"
        )
    return [reports[name] for name in gold.index], gold


def is_test(ids: Sequence[str]) -> np.ndarray:
    """(R,) bool: the third of the reports, by hash of their id, whose errors were not read while
    phrases were written."""
    return np.array([hashlib.sha256(name.encode()).digest()[0] % 3 == 0 for name in ids])


def negation_f1(labels: np.ndarray, gold: np.ndarray, uncertain: bool) -> float:
    """F1 of "denied" over the mentioned (report, column) pairs: read 0, truth gold 0. `uncertain`
    False leaves hedged pairs out (the gold has no such label), True counts them as not read."""
    counted = ~np.isnan(labels) & ((labels != UNCERTAIN) | uncertain)
    return f1(~gold[counted], labels[counted] == NEGATIVE)


def score(
    labels: pd.DataFrame, gold: pd.DataFrame, num_resamples: int = 500, seed: int = 0
) -> dict[str, Any]:
    """Figures of `labels` (R, K) against `gold` (R, K), each {value, low, high, n, ...} with floors
    in `floors`.

    Uncertain and absent count as not positive, as in the gold. `constant` is the best reading that
    ignores the report, `mention` calls every mention positive (no scope rules). `micro_f1` covers
    all columns; `micro_f1_seen` only those with a positive in the gold.
    """
    values, truth = labels[gold.columns].to_numpy(), gold.to_numpy()
    mentioned, every = ~np.isnan(values), np.arange(truth.shape[1])
    figures = {
        "micro_f1": _compare(values, truth, every, num_resamples, seed),
        "micro_f1_seen": _compare(values, truth, every[truth.any(0)], num_resamples, seed),
    }
    for name, uncertain in (("negation_f1", False), ("negation_f1_with_uncertain", True)):
        statistic = lambda rows, u=uncertain: negation_f1(values[rows], truth[rows], u)
        constant = f1(~truth[mentioned], np.ones(mentioned.sum(), bool))
        estimate = bootstrap(statistic, len(truth), None, num_resamples, seed)
        figures[name] = {**asdict(estimate), "floors": {"constant": constant}}
    classes = {}
    for k, name in enumerate(gold.columns):
        column, positive = values[:, k], truth[:, k]
        classes[name] = {
            **_compare(values, truth, every[k : k + 1], num_resamples, seed),
            "positives": int(positive.sum()),
            "false_positive": int(((column == POSITIVE) & ~positive).sum()),
            "missed_unmentioned": int((positive & np.isnan(column)).sum()),
            "missed_denied": int((positive & (column == NEGATIVE)).sum()),
            "missed_hedged": int((positive & (column == UNCERTAIN)).sum()),
        }
    return {"reports": len(truth), **figures, "classes": classes}


def _compare(
    values: np.ndarray, truth: np.ndarray, columns: np.ndarray, num_resamples: int, seed: int
) -> dict[str, Any]:
    """Micro-F1 over some columns, with its interval and floors."""
    truth, values = truth[:, columns], values[:, columns]
    read = values == POSITIVE
    order = np.argsort(-truth.sum(0), kind="stable")
    guesses = [
        np.isin(np.arange(len(columns)), order[: k + 1]) for k in range(len(order))
    ]  # the k most frequent columns
    constants = [f1(truth, np.broadcast_to(guess, truth.shape)) for guess in guesses]
    estimate = bootstrap(
        lambda rows: f1(truth[rows], read[rows]), len(truth), None, num_resamples, seed
    )
    return {
        **asdict(estimate),
        "floors": {"constant": max(constants), "mention": f1(truth, ~np.isnan(values))},
    }
