"""The schema of a recipe: values that no stage takes."""

import pytest

from medcodi.config_io import (
    load_recipe,
)
from tests.tiny import tiny_recipe, write_recipe

POSITIVE = (
    "batch_size",
    "gradient_accumulation_steps",
    "log_every",
    "checkpoint_every",
    "checkpoints_kept",
)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *((key, "0", f"{key} must be at least 1, got 0") for key in POSITIVE),
        ("num_steps", "-1", "num_steps must be at least 0, got -1"),
        ("mixed_precision", "fp16", "mixed_precision must be no, bf16 or auto, got 'fp16'"),
        ("per_modality", "{tabular: {log_every: 0}}", "log_every must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, key, value, message):
    path = write_recipe(tiny_recipe(tmp_path), tmp_path / "recipe.yaml")
    with pytest.raises(ValueError, match=message):
        load_recipe(path, [f"{key}={value}"], "stage2")
