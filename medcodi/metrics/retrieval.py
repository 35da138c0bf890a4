"""The floors that need a training set: the output of the nearest prompt, and the best constant
output.

Legend: Q queries, R references (training studies), H W pixels, K findings.
"""

from collections.abc import Sequence

import numpy as np


def text_distances(queries: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """1 - cosine of TF-IDF vectors of words and word pairs: (Q, R)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(references)
    return 1 - (vectorizer.transform(queries) @ vectorizer.transform(references).T).toarray()


def image_distances(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Mean squared pixel difference of float images (Q, H, W) and (R, H, W): (Q, R)."""
    q = np.asarray(queries, np.float32).reshape(len(queries), -1)
    r = np.asarray(references, np.float32).reshape(len(references), -1)
    return ((q**2).sum(1)[:, None] + (r**2).sum(1)[None] - 2 * q @ r.T) / q.shape[1]


def nearest(*distances: np.ndarray) -> np.ndarray:
    """Index of the nearest reference of each query (Q,); several prompts are summed, each over its
    median."""
    return sum(d / max(float(np.median(d)), 1e-12) for d in distances).argmin(axis=1)


def best_constant(read: np.ndarray, truth: np.ndarray) -> int:
    """Which of the R training outputs, given to everybody, has the highest micro F1 on the training
    truth.

    `read` and `truth` (R, K) bool: the findings that each output states, and the true ones.
    """
    read, truth = np.asarray(read, float), np.asarray(truth, float)
    hits = read @ truth.sum(axis=0)  # (R,) true positives when everybody gets this output
    stated = read.sum(axis=1) * len(truth)
    return int((2 * hits / np.maximum(stated + truth.sum(), 1)).argmax())
