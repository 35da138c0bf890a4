"""Reports: long spans of words that only a few training patients' reports have.

A radiologist's phrases recur in thousands of reports and give nobody away. A span that stands in
the reports of a handful of patients does.
Legend: T training reports, W words.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from medcodi.privacy.guard import Guard, Match

LENGTHS = (
    3,
    4,
    5,
    6,
    7,
    8,
    10,
    12,
    14,
    16,
    20,
    24,
    32,
    48,
)  # words of the spans that are looked up
FEW = 3  # a span that more training patients share is a common phrase
BASE = np.uint64(0x9E3779B97F4A7C15)
WORD = re.compile(r"[a-z0-9]+")
SPANS = "spans.safetensors"


def word_codes(text: str) -> np.ndarray:
    """(W,) uint64, one for each word in lower case."""
    words = WORD.findall(text.lower())
    codes = [hashlib.blake2b(w.encode(), digest_size=8).digest() for w in words]
    return np.frombuffer(b"".join(codes), np.uint64) if words else np.zeros(0, np.uint64)


def span_codes(words: np.ndarray, length: int) -> np.ndarray:
    """(W - length + 1,) uint64: a polynomial hash of every span of `length` words; arithmetic is
    modulo 2 ** 64."""
    count = len(words) - length + 1
    if count < 1:
        return np.zeros(0, np.uint64)
    total = np.zeros(count, np.uint64)
    for offset in range(length):
        total = total * BASE + words[offset : offset + count]
    return total


class TextGuard(Guard):
    """The score is the number of words of the longest span that a report shares with the reports of
    at most `FEW` training patients; a whole report that many patients have scores 0."""

    storage, what = "text", "repeats a long span of one training report"

    def __init__(self, spans: dict[str, np.ndarray]) -> None:
        self.spans = spans  # length -> rare span codes, sorted; "of_LENGTH" -> a report that has it

    @classmethod
    def fit(cls, texts: Sequence[str], patients: Sequence[Any]) -> "TextGuard":
        owners = np.unique(np.asarray(patients), return_inverse=True)[1]
        words = [word_codes(text) for text in texts]
        spans = {}
        for length in LENGTHS:
            found = [np.unique(span_codes(w, length)) for w in words]
            codes = np.concatenate(found)
            rows = np.repeat(np.arange(len(texts)), [len(part) for part in found])
            spans |= _rare(codes, rows, owners, length)
        return cls(spans)

    def match(self, values: Sequence[Any]) -> Match:
        scores, records = np.zeros(len(values)), np.zeros(len(values), int)
        for row, text in enumerate(values):
            words = word_codes(text)
            for length in LENGTHS:
                codes, known = span_codes(words, length), self.spans[str(length)]
                if not len(known) or not len(codes):
                    continue
                at = np.searchsorted(known, codes).clip(max=len(known) - 1)
                hits = at[known[at] == codes]
                if len(hits):
                    scores[row], records[row] = length, self.spans[f"of_{length}"][hits[0]]
        return Match(scores, records)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        levels = {"thresholds": np.array([self.threshold, self.alert])}
        save_file(self.spans | levels, folder / SPANS)

    @classmethod
    def load(cls, folder: Path) -> "TextGuard":
        spans = load_file(folder / SPANS)
        levels = spans.pop("thresholds")
        guard = cls(spans)
        guard.threshold, guard.alert = map(float, levels)
        return guard


def _rare(
    codes: np.ndarray, rows: np.ndarray, owners: np.ndarray, length: int
) -> dict[str, np.ndarray]:
    """The spans of `length` words that the reports of at most `FEW` patients have, and one report
    of each."""
    pairs = np.unique(np.stack([codes, owners[rows].astype(np.uint64)]), axis=1)
    unique, counts = np.unique(pairs[0], return_counts=True)
    rare = unique[counts <= FEW]
    first, at = np.unique(codes, return_index=True)
    return {str(length): rare, f"of_{length}": rows[at[np.isin(first, rare)]]}
