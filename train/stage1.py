"""Train stage 1, the shared latent space, of a recipe.

    accelerate launch train/stage1.py [--config RECIPE] [optim.lr=1e-4 ...]

The same command again resumes, or does nothing when the stage is complete.
"""

import sys

from medcodi.cli import main

if __name__ == "__main__":
    main(["train", "stage1", *sys.argv[1:]])
