"""The learning rate: linear warm-up, cosine decay."""

import math

from medcodi.config import OptimConfig


def learning_rate(step: int, num_steps: int, optim: OptimConfig) -> float:
    """Of the update that follows `step` updates: a function of the step alone, the same on any
    number of processes and after a resume."""
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / optim.warmup_steps
    progress = (step - optim.warmup_steps) / max(1, num_steps - optim.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return optim.lr * (optim.min_lr_ratio + (1 - optim.min_lr_ratio) * cosine)
