"""What the scripts in train/ have in common: recipe, overrides, accelerate, one stage."""

import argparse
import logging
import sys

import medcodi.modalities  # noqa: F401  registers the kinds
from medcodi.config import load_recipe
from medcodi.training.checkpoint import CheckpointError
from medcodi.training.loop import NonFiniteLossError, TrainingInterrupted
from medcodi.training.speed import TooLittleMemoryError
from medcodi.training.tasks import train_stage

INTERRUPTED, FAILED = 130, 1


def main(stage: str, arguments: list[str] | None = None) -> None:
    """Parse `--config FILE key=value ...` and train `stage`. Exits with 130 when interrupted (state
    saved)."""
    parser = argparse.ArgumentParser(description=f"train {stage} of a recipe")
    parser.add_argument("--config", required=True, help="recipe YAML")
    parser.add_argument("overrides", nargs="*", help="dotted overrides, such as optim.lr=1e-4")
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        train_stage(load_recipe(parsed.config, parsed.overrides, stage), stage)
    except TrainingInterrupted as stop:
        logging.warning("%s", stop)
        sys.exit(INTERRUPTED)
    except (
        ValueError,
        OSError,
        NonFiniteLossError,
        CheckpointError,
        TooLittleMemoryError,
    ) as error:
        logging.error("%s", error)
        sys.exit(FAILED)
