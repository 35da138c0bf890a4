"""An evaluation of the tiny run."""

import copy

from medcodi.config import EvaluationConfig
from medcodi.config_io import build_dataclass
from medcodi.evaluation import EvaluationContext

SMALL = {
    "num_studies": 8,
    "num_training_studies": 32,
    "num_inference_steps": 1,
    "num_resamples": 20,
    "network_steps": 4,
}


def context_of(recipe, output, pipeline=None, **settings):
    """An evaluation of the tiny run in a folder of its own, with smaller settings."""
    changed = copy.deepcopy(recipe)
    changed.evaluation = build_dataclass(EvaluationConfig, SMALL | settings, "evaluation")
    return EvaluationContext(changed, output, pipeline)
