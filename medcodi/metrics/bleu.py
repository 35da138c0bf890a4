"""BLEU-1 to 4 (Papineni et al. 2002) of a corpus, from sentence statistics that are counted once,
so that it bootstraps.

Two definitions, and a number carries the name of its own:
- `sacrebleu`: its tokenizer 13a on lower-cased text, no smoothing (Post 2018);
- `coco`: lower-cased words without punctuation; precisions get 1e-15 / 1e-9 against empty counts,
  as in coco-caption (Chen et al. 2015), whose Java tokenizer is replaced by a pattern: on equal
  words the score is the same.

Legend: N texts, orders n = 1..4.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ORDERS = 4
EVALUATE_MODULE = (
    Path(__file__).parent / "evaluate_modules" / "corpus_bleu"
)  # for `evaluate.load`, without a network
TINY, SMALL = 1e-15, 1e-9
_WORD = re.compile(r"[^\W_]+(?:[-'./][^\W_]+)*")


def tokens_13a(text: str) -> list[str]:
    """sacrebleu's default tokenizer on lower-cased text."""
    return _tokenizer_13a()(text.lower()).split()


def tokens_words(text: str) -> list[str]:
    """Lower-cased words, numbers and hyphenated words; punctuation is dropped."""
    return _WORD.findall(text.lower())


def _tokenizer_13a() -> Callable[[str], str]:
    global _TOKENIZER
    if _TOKENIZER is None:
        from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

        _TOKENIZER = Tokenizer13a()
    return _TOKENIZER


_TOKENIZER: Callable[[str], str] | None = None
TOKENIZERS = {"sacrebleu": tokens_13a, "coco": tokens_words}


@dataclass(frozen=True)
class BleuCounts:
    """Of N texts: n-grams found in a reference and n-grams in all (N, 4), lengths of text and
    closest reference (N,)."""

    matches: np.ndarray
    totals: np.ndarray
    length: np.ndarray
    reference_length: np.ndarray


def count(
    texts: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> BleuCounts:
    """Counts of N tokenised texts, each with one or more tokenised references. ValueError for
    unequal numbers."""
    if len(texts) != len(references) or not len(texts):
        raise ValueError(
            f"expected references for each of at least one text, got {len(texts)} and "
            f"{len(references)}"
        )
    matches, totals = np.zeros((len(texts), ORDERS)), np.zeros((len(texts), ORDERS))
    length, closest = np.zeros(len(texts)), np.zeros(len(texts))
    for i, (text, allowed) in enumerate(zip(texts, references, strict=True)):
        if not allowed:
            raise ValueError(f"text {i} has no reference")
        length[i] = len(text)
        closest[i] = min((abs(len(other) - len(text)), len(other)) for other in allowed)[1]
        for n in range(ORDERS):
            found = Counter(zip(*(text[k:] for k in range(n + 1)), strict=False))
            best = Counter(zip(*(allowed[0][k:] for k in range(n + 1)), strict=False))
            for other in allowed[1:]:
                best |= Counter(zip(*(other[k:] for k in range(n + 1)), strict=False))
            matches[i, n] = sum(
                min(times, best[gram]) for gram, times in found.items() if gram in best
            )
            totals[i, n] = max(len(text) - n, 0)
    return BleuCounts(matches, totals, length, closest)


def score(
    counts: BleuCounts, definition: str = "sacrebleu", rows: np.ndarray | None = None
) -> np.ndarray:
    """BLEU-1..4 (4,) in [0, 1] of the corpus, or of a resample of its rows."""
    if definition not in TOKENIZERS:
        raise ValueError(f"definition must be one of {', '.join(TOKENIZERS)}, got {definition!r}")
    rows = slice(None) if rows is None else rows
    matches, totals = counts.matches[rows].sum(axis=0), counts.totals[rows].sum(axis=0)
    length, reference = counts.length[rows].sum(), counts.reference_length[rows].sum()
    if length == 0:
        return np.zeros(ORDERS)
    if definition == "coco":
        precision = (matches + TINY) / (totals + SMALL)
        ratio = (length + TINY) / (reference + SMALL)
    else:
        precision = np.divide(matches, totals, out=np.zeros(ORDERS), where=totals > 0)
        ratio = length / reference if reference else 1.0
    with np.errstate(divide="ignore"):
        means = np.exp(np.cumsum(np.log(precision)) / np.arange(1, ORDERS + 1))
    return means * min(1.0, np.exp(1 - 1 / ratio))


def bleu_counts(
    texts: Sequence[str], references: Sequence[Sequence[str]], definition: str = "sacrebleu"
) -> BleuCounts:
    """Counts of N texts with their references, tokenised as the definition says."""
    if definition not in TOKENIZERS:
        raise ValueError(f"definition must be one of {', '.join(TOKENIZERS)}, got {definition!r}")
    tokenize = TOKENIZERS[definition]
    known: dict[str, list[str]] = {}

    def tokens(text: str) -> list[str]:
        if text not in known:
            known[text] = tokenize(text)
        return known[text]

    return count(
        [tokens(text) for text in texts],
        [[tokens(text) for text in allowed] for allowed in references],
    )


def corpus_bleu(
    texts: Sequence[str], references: Sequence[Sequence[str]], definition: str = "sacrebleu"
) -> np.ndarray:
    """BLEU-1..4 (4,) of N texts, each with its references."""
    return score(bleu_counts(texts, references, definition), definition)
