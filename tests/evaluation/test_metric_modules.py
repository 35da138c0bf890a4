"""The package's metrics load by `evaluate.load` without a network; they say what ours say."""

import numpy as np
import pytest

from medcodi.evaluation.metric_modules import MODULES, metric_module
from medcodi.metrics.bleu import corpus_bleu
from medcodi.metrics.fidelity import frechet_distance

evaluate = pytest.importorskip("evaluate")
REAL = [
    "Small left pleural effusion. The heart is enlarged.",
    "No acute cardiopulmonary abnormality.",
    "Possible edema.",
]
MADE = [
    "Left pleural effusion. Heart size is normal.",
    "No acute cardiopulmonary abnormality.",
    "There is edema.",
]


@pytest.fixture
def load(tmp_path):
    return lambda name: evaluate.load(metric_module(name), cache_dir=str(tmp_path))


def test_bleu(load):
    told = load("bleu").compute(predictions=MADE, references=[[text] for text in REAL])
    ours = corpus_bleu(MADE, [[text] for text in REAL])
    assert [told[f"bleu_{n}"] for n in range(1, 5)] == pytest.approx(ours)


def test_labeler_f1_reads_uncertain_both_ways(load):
    metric = load("labeler_f1")
    told = metric.compute(predictions=MADE, references=REAL)
    assert told["Pleural Effusion"] == 1.0
    assert told["Cardiomegaly"] == 0.0
    assert told["No Finding"] == 1.0
    assert told["Edema"] is None  # hedged in the reference: absent
    both = metric.compute(predictions=MADE, references=REAL, uncertain="positive")
    assert both["Edema"] == 1.0
    with pytest.raises(ValueError, match="uncertain must be positive or negative, got 'maybe'"):
        metric.compute(predictions=MADE, references=REAL, uncertain="maybe")


def test_frechet(load):
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(30, 4)), rng.normal(0.5, 1, size=(30, 4))
    told = load("frechet").compute(predictions=made.tolist(), references=real.tolist())
    assert told["frechet"] == pytest.approx(frechet_distance(made, real))


def test_an_unknown_metric_is_named():
    assert set(MODULES) == {"bleu", "frechet", "labeler_f1"}
    with pytest.raises(ValueError, match=r"unknown key 'blue' .* did you mean 'bleu'"):
        metric_module("blue")
