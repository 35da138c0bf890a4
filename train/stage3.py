"""Train stage 3, joint generation, of a recipe.

    accelerate launch train/stage3.py [--config RECIPE] [optim.lr=1e-4 ...]

The same command again resumes, or does nothing when the stage is complete.
"""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["train", "stage3", *sys.argv[1:]])
