"""Metrics of the package for `evaluate.load`: local folders, no network.

import evaluate
bleu = evaluate.load(metric_module("bleu"))
bleu.compute(predictions=texts, references=[[real] for real in reports])
"""

from pathlib import Path

from medcodi import labeler
from medcodi.config_io import unknown_key
from medcodi.metrics.bleu import EVALUATE_MODULE

MODULES = {
    "bleu": EVALUATE_MODULE,
    "frechet": EVALUATE_MODULE.parent / "frechet",
    "labeler_f1": Path(labeler.__file__).parent / "evaluate_modules" / "labeler_f1",
}


def metric_module(name: str) -> str:
    """The folder to give to `evaluate.load`: bleu, frechet, labeler_f1. ValueError names them."""
    if name not in MODULES:
        raise unknown_key(name, MODULES, "the metrics for evaluate.load")
    return str(MODULES[name])
