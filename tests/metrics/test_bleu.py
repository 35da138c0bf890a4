"""BLEU: agreement with sacrebleu and with coco's definition, the offline `evaluate` module,
floors."""

import math
from collections import Counter

import numpy as np
import pytest
import sacrebleu

from medcodi.metrics import bleu
from medcodi.phantom import make_study

REPORTS = [text for i in range(60) if (text := make_study(3, i, 16).values.get("report"))]
TEXTS = [text.replace("left", "right").replace("The heart", "Heart") for text in REPORTS]


def coco(texts, references):
    """The definition of coco-caption's BleuScorer ("closest"), written down for one reference list
    a text."""
    correct, guess, length, reference = [0] * 4, [0] * 4, 0, 0
    for text, allowed in zip(texts, references, strict=True):
        length += len(text)
        reference += min((abs(len(r) - len(text)), len(r)) for r in allowed)[1]
        for k in range(1, 5):
            grams = Counter(tuple(text[i : i + k]) for i in range(len(text) - k + 1))
            best = Counter()
            for r in allowed:
                for gram, times in Counter(
                    tuple(r[i : i + k]) for i in range(len(r) - k + 1)
                ).items():
                    best[gram] = max(best[gram], times)
            guess[k - 1] += max(0, len(text) - k + 1)
            correct[k - 1] += sum(min(times, best[gram]) for gram, times in grams.items())
    scores, product = [], 1.0
    ratio = (length + 1e-15) / (reference + 1e-9)
    for k in range(4):
        product *= (correct[k] + 1e-15) / (guess[k] + 1e-9)
        scores.append(product ** (1 / (k + 1)) * (math.exp(1 - 1 / ratio) if ratio < 1 else 1))
    return scores


def of_sacrebleu(texts, references):
    columns = [
        [r[i] if i < len(r) else None for r in references] for i in range(max(map(len, references)))
    ]
    return [
        sacrebleu.BLEU(lowercase=True, smooth_method="none", max_ngram_order=n)
        .corpus_score(texts, columns)
        .score
        / 100
        for n in range(1, 5)
    ]


@pytest.mark.parametrize(
    "texts", [TEXTS, [text[: len(text) // 2] for text in TEXTS]], ids=["long", "cut"]
)
def test_both_definitions_agree_to_a_millionth(texts):
    """One reference, and two of different lengths."""
    for references in (
        [[r] for r in REPORTS],
        [[r, s] for r, s in zip(REPORTS, REPORTS[1:] + REPORTS[:1], strict=True)],
    ):
        ours = bleu.corpus_bleu(texts, references, "sacrebleu")
        assert ours == pytest.approx(of_sacrebleu(texts, references), abs=1e-6)
        tokens = (
            [bleu.tokens_words(t) for t in texts],
            [[bleu.tokens_words(r) for r in rs] for rs in references],
        )
        assert bleu.corpus_bleu(texts, references, "coco") == pytest.approx(coco(*tokens), abs=1e-6)


def test_on_the_same_words_the_definitions_are_one():
    counts = bleu.bleu_counts(TEXTS, [[r] for r in REPORTS], "coco")
    assert bleu.score(counts, "coco") == pytest.approx(bleu.score(counts, "sacrebleu"), abs=1e-6)


def test_identity_shuffling_and_short_texts():
    own = [[r] for r in REPORTS]
    assert bleu.corpus_bleu(REPORTS, own) == pytest.approx([1, 1, 1, 1])
    shuffled = bleu.corpus_bleu(REPORTS[1:] + REPORTS[:1], own)
    good = bleu.corpus_bleu(TEXTS, own)
    assert (good > shuffled).all() and (np.diff(shuffled) < 0).all()
    assert bleu.corpus_bleu(["", ""], [["a b"], ["c"]]) == pytest.approx([0, 0, 0, 0])
    two = bleu.corpus_bleu(["left effusion"], [["left effusion"]])
    assert two[:2] == pytest.approx([1, 1]) and two[2:] == pytest.approx([0, 0])


def test_rows_resample_the_corpus():
    counts = bleu.bleu_counts(TEXTS, [[r] for r in REPORTS])
    rows = np.array([0, 0, 3, 5])
    chosen = bleu.corpus_bleu([TEXTS[i] for i in rows], [[REPORTS[i]] for i in rows])
    assert bleu.score(counts, rows=rows) == pytest.approx(chosen)


def test_the_evaluate_module_loads_offline_and_agrees(tmp_path):
    evaluate = pytest.importorskip("evaluate")
    metric = evaluate.load(str(bleu.EVALUATE_MODULE), cache_dir=str(tmp_path))
    scores = metric.compute(predictions=TEXTS, references=[[r] for r in REPORTS])
    ours = bleu.corpus_bleu(TEXTS, [[r] for r in REPORTS])
    assert [scores[f"bleu_{n}"] for n in range(1, 5)] == pytest.approx(ours, abs=1e-6)


def test_bad_calls_are_named():
    with pytest.raises(ValueError, match="definition must be one of sacrebleu, coco, got 'meteor'"):
        bleu.corpus_bleu(["a"], [["a"]], "meteor")
    with pytest.raises(ValueError, match="got 1 and 2"):
        bleu.corpus_bleu(["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="text 1 has no reference"):
        bleu.corpus_bleu(["a", "b"], [["a"], []])
